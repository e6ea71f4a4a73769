"""The stages by name, and all of them in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facepipe.config import EXAMPLES, ExtractConfig, SelectConfig, ShardConfig, SplitConfig, join
from facepipe.errors import FacepipeError, Incomplete, InputError, UsageError
from facepipe.options import EXTRACT, SELECT, SHARD, SPLIT, STAGES, config_values
from facepipe.records import StageReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facepipe.config import StageConfig
    from facepipe.progress import Progress

CONFIGS: dict[str, Any] = {EXTRACT: ExtractConfig, SELECT: SelectConfig, SPLIT: SplitConfig, SHARD: ShardConfig}


def make_config(stage: str, paths: Mapping[str, str], given: dict[str, Any]) -> StageConfig:
    """A stage's checked config, from its paths and the options that were given (None: not given).

    Raises:
        UsageError: an option that can't be meant.
    """
    config: StageConfig = CONFIGS[stage](**paths, **config_values(stage, given))
    return config


def run_stage(config: StageConfig, progress: Progress) -> StageReport:
    """Runs the stage that a config is for."""
    if isinstance(config, ExtractConfig):
        from facepipe.stages import extract

        return extract.run(config, progress)
    if isinstance(config, SelectConfig):
        from facepipe.stages import select

        return select.run(config, progress)
    if isinstance(config, SplitConfig):
        from facepipe.stages import split

        return split.run(config, progress)
    from facepipe.stages import shard

    return shard.run(config, progress)


def workspace_paths(stage: str, images: str, workspace: str) -> dict[str, str]:
    """Where a stage of a whole run reads and writes."""
    faces, targets, pairs = (join(workspace, name) for name in ("faces", "targets", "pairs"))
    return {
        EXTRACT: {"input": images, "output": faces},
        SELECT: {"input": faces, "output": targets},
        SPLIT: {"faces": faces, "targets": targets, "output": pairs},
        SHARD: {"input": pairs, "faces": faces, "output": join(workspace, "shards")},
    }[stage]


def plan_run(
    images: str, workspace: str, recipe: Mapping[str, dict[str, Any]], given: dict[str, Any]
) -> list[StageConfig]:
    """The configs of a whole run, all checked before the first one starts; shards are made of both kinds."""
    configs = []
    for stage in STAGES:
        options = {**recipe.get(stage, {}), **{name: value for name, value in given.items() if value not in (None, [])}}
        for examples in EXAMPLES if stage == SHARD and "examples" not in options else (options.get("examples"),):
            own = dict(options)
            if stage == SHARD and "examples" not in options:
                own["examples"] = examples
                if examples == "faces":  # noise and gray are for pairs: single faces are for GANs
                    own.pop("noise", None)
                    own.pop("color", None)
                    own.pop("keep-clean", None)
            configs.append(make_config(stage, workspace_paths(stage, images, workspace), own))
    return configs


def run_all(
    images: str, workspace: str, recipe: Mapping[str, dict[str, Any]], given: dict[str, Any], progress: Progress
) -> Iterator[StageReport]:
    """Extract, select, split, shard (pairs, then faces), verify; yields each stage's report.

    Raises:
        UsageError: `--part-of`, which is for `extract` alone.
        SettingsChanged: a stage's output was made with other settings; a dry run says so too.
        MissingExtra, WeightsError: `select` will need the face mesh, and it can't be loaded; said before any work.
        InputError: no image gave the identity's face.
        FacepipeError: what a stage raises, or `verify` found something.
    """
    from facepipe.stages import outcome

    if given.get("part-of") not in (None, "1/1"):
        raise UsageError("--part-of is for `facepipe extract`: run that on every machine, then the other stages on one")
    remembered = {**recipe, SELECT: {**corrections_of(workspace), **recipe.get(SELECT, {})}}
    configs = plan_run(images, workspace, remembered, given)
    _check_mesh(configs)
    if given.get("dry-run"):
        yield from _foresee(configs, progress)
        return
    for config in configs:
        report = run_stage(config, progress)
        yield report
        if isinstance(config, ExtractConfig):
            outcome.refuse_no_face(report.counts, workspace)
    from facepipe.stages import verify

    problems = verify.run(workspace, progress)
    if problems:
        more = f"; `facepipe verify --data {workspace}` lists all {len(problems):,}" if problems[1:] else ""
        raise FacepipeError(f"verify found something wrong: {problems[0]}{more}")


def _foresee(configs: Sequence[StageConfig], progress: Progress) -> Iterator[StageReport]:
    """What each stage would do, as far as what it reads is there."""
    for config in configs:
        try:
            yield run_stage(config, progress)
        except (InputError, Incomplete):
            if isinstance(config, ExtractConfig):
                raise
            stage = next(name for name, kind in CONFIGS.items() if isinstance(config, kind))
            yield StageReport(stage, notes=["dry run: would follow; what it reads is not made yet, or anew"])


def corrections_of(workspace: str) -> dict[str, str]:
    """`overrides` for `select`, where `facepipe review` wrote some into the workspace; else nothing."""
    from facepipe.stages.overrides import NAME
    from facepipe.storage import place

    return {"overrides": join(workspace, NAME)} if place(workspace).exists(NAME) else {}


def _check_mesh(configs: Sequence[StageConfig]) -> None:
    """Loads the face mesh once where `select` will: hours of `extract` must not come before a missing package."""
    for config in configs:
        if isinstance(config, SelectConfig) and config.refine == "mesh":
            from facepipe.mesh import Mesh

            Mesh(config.mesh_model)


def run_demo(folder: str, seed: int, identities: int, workers: int, progress: Progress) -> Iterator[StageReport]:
    """Makes the demo's images below `folder`, then a whole run over them by the recipe `demo`."""
    from facepipe.recipes import read_recipe
    from facepipe.stages import demo

    yield demo.write_images(folder, seed, identities, workers, progress)
    given = {"workers": workers or None, "refine": _refinement()}
    yield from run_all(join(folder, "images"), folder, read_recipe("demo"), given, progress)


def _refinement() -> str | None:
    """The demo's `--refine`: `none` where the mesh is not installed, because the demo is to run without any extra."""
    from facepipe.errors import MissingExtra
    from facepipe.mesh import Mesh

    try:
        Mesh()
    except MissingExtra:
        return "none"
    return None
