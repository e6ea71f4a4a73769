"""The stages by name, and all of them in a row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facepipe.config import (
    CONFIGS,
    EXAMPLES,
    EXTRACT,
    GUARD,
    SELECT,
    EmbedConfig,
    ExtractConfig,
    Filters,
    GroupConfig,
    SelectConfig,
    ShardConfig,
    SplitConfig,
    join,
    make_config,
    paths_of,
)
from facepipe.errors import FacepipeError, Incomplete, InputError, UsageError
from facepipe.options import options_of
from facepipe.records import StageReport
from facepipe.storage import place
from facepipe.storage.settings import NAME as SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from facepipe.config import StageConfig
    from facepipe.execution.progress import Progress

PEOPLE = "people.csv"


def run_stage(config: StageConfig, progress: Progress) -> StageReport:
    """Runs the stage that a config is for."""
    if isinstance(config, ExtractConfig):
        from facepipe.stages import extract

        return extract.run(config, progress)
    if isinstance(config, EmbedConfig):
        from facepipe.stages import embed

        return embed.run(config, progress)
    if isinstance(config, SelectConfig):
        from facepipe.stages import select

        return select.run(config, progress)
    if isinstance(config, SplitConfig):
        from facepipe.stages import split

        return split.run(config, progress)
    from facepipe.stages import shard

    return shard.run(config, progress)


def plan_run(
    images: str, workspace: str, recipe: Mapping[str, dict[str, Any]], given: Mapping[str, Any], *, group: bool = False
) -> list[StageConfig]:
    """The configs of a whole run, all checked before the first one starts; shards are made of both kinds.

    Args:
        images: where the pictures are.
        workspace: where everything goes.
        recipe: stage -> option -> value.
        given: option -> value, None where it was not given; these win over the recipe, in each stage that has them.
            Filters are for `select`, whose choice `split` follows.
        group: whether the people of `facepipe group` are the manifest.
    """
    configs: list[StageConfig] = []
    for stage, kind in CONFIGS.items():
        known = options_of(kind).keys() - (options_of(Filters) if kind is SplitConfig else ())
        options = paths_of(kind, workspace) | recipe.get(stage, {})
        options |= {name: value for name, value in given.items() if name in known and value not in (None, [])}
        if kind is ExtractConfig:
            options["input"] = images
            if group and {"manifest", "layout"} & options.keys():
                raise UsageError("--group finds out who is on which image; leave out --layout and --manifest")
            if group:
                options["manifest"] = join(workspace, PEOPLE)
        if kind is ShardConfig and "examples" not in options:
            pairs, faces = EXAMPLES  # noise and gray are for pairs: single faces are for GANs
            configs.append(make_config(kind, {**options, "examples": pairs}))
            options = {n: v for n, v in options.items() if n not in ("noise", "color", "keep_clean")}
            options["examples"] = faces
        configs.append(make_config(kind, options))
    return configs


def run_all(
    images: str,
    workspace: str,
    recipe: Mapping[str, dict[str, Any]],
    given: Mapping[str, Any],
    progress: Progress,
    save_recipe: str = "",
    *,
    group: bool = False,
) -> Iterator[StageReport]:
    """Extract, select, split, shard (pairs, then faces), verify; yields each stage's report.

    `save_recipe`: the file that the settings go to before anything else is done, as a recipe; empty for none. `group`:
    the images have no names, so it begins with those of `facepipe group`.

    Raises:
        UsageError: `--part-of`, which is for `extract` alone.
        SettingsChanged: a stage's output was made with other settings; a dry run says so too.
        InputError: no image gave the identity's face.
        FacepipeError: what a stage raises, or `verify` found something.
    """
    from facepipe.stages import outcome

    if given.get("part_of") not in (None, "1/1"):
        raise UsageError("--part-of is for `facepipe extract`: run that on every machine, then the other stages on one")
    configs = plan_run(images, workspace, _remembered(workspace, recipe, given), given, group=group)
    if save_recipe:
        from facepipe.stages.recipes import write_recipe

        write_recipe(save_recipe, configs)
    if group:
        yield from _group(images, workspace, configs[0], given, progress)
    if given.get("dry_run"):
        if not group or place(workspace).exists(PEOPLE):
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


def _remembered(
    workspace: str, recipe: Mapping[str, dict[str, Any]], given: Mapping[str, Any]
) -> Mapping[str, dict[str, Any]]:
    """The recipe with what a workspace asks for by itself: corrections, and what embeddings are for."""
    identity = given.get("identity") or recipe.get(EXTRACT, {}).get("identity")
    guard = {"guard": GUARD} if identity == "check" else {}
    remembered = {**recipe, SELECT: {**corrections_of(workspace), **guard, **recipe.get(SELECT, {})}}
    # Embeddings that were asked for once must be of these faces.
    if {**remembered[SELECT], **given}.get("guard") or place(workspace).exists(f"embeddings/{SETTINGS}"):
        remembered[EXTRACT] = {"identity": "check", **recipe.get(EXTRACT, {})}
    return remembered


def _group(
    images: str, workspace: str, extraction: StageConfig, given: Mapping[str, Any], progress: Progress
) -> Iterator[StageReport]:
    """Who is on which image, into the manifest of `extract`."""
    from facepipe.stages import extract, group

    assert isinstance(extraction, ExtractConfig)
    extract.refuse_other_settings(extraction)  # grouping takes long
    own = {name: given.get(name) for name in options_of(GroupConfig)}
    config = make_config(GroupConfig, own | {"input": images, "output": join(workspace, PEOPLE)})
    faces = join(workspace, "group/faces")
    as_found = {name: getattr(ExtractConfig, name) for name in ("crop_size", "margin", "align", "identity")}
    yield from group.run(config, replace(extraction, output=faces, **as_found), progress)


def _foresee(configs: Sequence[StageConfig], progress: Progress) -> Iterator[StageReport]:
    """What each stage would do, as far as what it reads is there."""
    for config in configs:
        try:
            yield run_stage(config, progress)
        except (InputError, Incomplete):
            if isinstance(config, ExtractConfig):
                raise
            stage = next(name for name, kind in CONFIGS.items() if isinstance(config, kind))
            stage += f" {config.examples}" if isinstance(config, ShardConfig) else ""
            yield StageReport(stage, notes=["dry run: would follow; what it reads is not made yet, or anew"])


def corrections_of(workspace: str) -> dict[str, str]:
    """`overrides` for `select`, where `facepipe review` wrote some into the workspace; else nothing."""
    from facepipe.stages.overrides import NAME

    return {"overrides": join(workspace, NAME)} if place(workspace).exists(NAME) else {}


def run_demo(folder: str, seed: int, identities: int, workers: int, progress: Progress) -> Iterator[StageReport]:
    """Unpacks the demo's images below `folder`, then a whole run over them by the recipe `demo`."""
    from facepipe.stages import demo
    from facepipe.stages.recipes import read_recipe

    yield demo.write_images(folder, identities)
    given = {"workers": workers or None, "seed": seed}
    yield from run_all(join(folder, "images"), folder, read_recipe("demo"), given, progress)
