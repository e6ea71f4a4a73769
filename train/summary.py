"""What a run says to a person: whether it learned something, in a sentence, and a page of its pictures and figures."""

from __future__ import annotations

import base64
import html
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from train.files import reading_back
from train.runs import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from train.runs import Run

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""

FEW = 20
"""People below which a difference may well be chance."""
HOLD_BACK = "`facepipe split --validation 0.3 --overwrite` and `facepipe shard --overwrite`, then train again"
RECONSTRUCTION_TERMS = (
    ("model", "what the network made of the side face"),
    ("mean target", "the mean of all frontal faces it was taught with, given as the answer to everybody"),
    ("feature resized", "the side face itself, given as the answer"),
    ("MSE, MAE", "mean squared and mean absolute error of a pixel, 0 to 1: lower is better"),
    ("PSNR, SSIM", "the squared error in decibels, and similarity of structure up to 1: higher is better"),
    ("sharpness", "mean gradient within the face against the target's: 1 is as sharp, a mean face has about 0.5"),
    ("gain-free", "MSE within the face after the answer's best gain and offset: what light does not explain"),
)
RECOGNITION_TERMS = (
    (
        "rank-1, AUC",
        "by facepipe's identity embedding, in one frame for all answers; it judges itself if it taught (`identity`)",
    ),
    ("mesh", "the side face laid onto a generic head and turned to the front, without learning"),
    ("feature", "the side face as it is; aligned: by its own landmarks"),
    ("target", "the frontal face itself: the most that an answer can reach"),
)
IDENTITY_TERMS = (
    ("fingerprints", "the network's latent vectors; beside them the pixels, and PCA of the frontal faces"),
    ("probes", "side faces for which the person is sought, by one frontal picture of each"),
    (
        "rank-1",
        "share of the probes whose nearest frontal picture is of the right person; of fingerprints by themselves",
    ),
    ("rank-1 of 100", "the same among a hundred people: the more there are, the harder one is found"),
    ("AUC", "how often a picture of the same person is nearer than one of another: 0.5 by chance, 1 always"),
)
EMBEDDING, NEAREST = "on the identity embedding", "nearest.png"
DISTANCE_TERMS = (
    ("swd", "sliced Wasserstein distance of pixels, by pyramid level and their mean: lower is nearer to real faces"),
    (
        "frechet",
        "Fréchet distance of facepipe's identity embeddings (no FID, and comparable with none): lower is nearer",
    ),
    ("precision", "share of the samples that are like some real face; recall: of the real faces like some sample"),
    ("nearest", "how like the most similar training face is, 1 being the same: far above real faces', it is a copy"),
    ("real faces, noise", "what others than the reference reach, and what takes no learning"),
)
LOGGED = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "d_loss": "discriminator's loss",
    "g_loss": "generator's loss",
    "swd": "sliced Wasserstein distance",
}
MEASURES = ("mse", "mae", "psnr", "ssim", "sharpness", "gain_free")
NOBODY = f"Nobody was held back, so nothing tells what it has learned: {HOLD_BACK}."
UNLIKE = 0.5
"""Of the feature's rank-1: an answer that is recognised less often than that has lost the person."""
GAN_LOSS = "Losses, scores and the distance of samples from real faces over epochs, other real faces' beside it."
LOSS = "Loss over epochs; level: that of the mean target, which takes no learning. Below it, something was learned."


def where_to_look(rows: Sequence[tuple[str, str]]) -> list[str]:
    """The last lines of a training: what for, and the file or command, in two columns."""
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {place}" for name, place in rows]


def verdict(report: dict[str, Any]) -> str:
    """Whether its faces are those of people whom it never saw, and whether its error is below that of no learning."""
    model, mean = (report["reconstruction"][name]["all"]["mse"] for name in ("model", "mean target"))
    figures = f"{model:.4f} against {mean:.4f}"
    if not model < mean:
        told = f"The model's MSE is not below the mean target's ({figures}): train longer, or on more people."
        return _likeness(report) + told
    told = f"The model's MSE is {100 * (1 - model / mean):.0f} % under the mean target's ({figures})"
    if report["subset"] == "train":
        return f"{told}, on the very people it was taught with: that tells nothing of others."
    if report.get("trained_on"):
        return f"{told}, but it was taught with {report['trained_on']:,} of these people: that tells little of others."
    few = report["identities"] < FEW
    people = f"{report['identities']:,} {'person' if report['identities'] == 1 else 'people'}"
    return _likeness(report) + f"{told}, on {people} held out{': so few that it may be chance' if few else ''}."


def _likeness(report: dict[str, Any]) -> str:
    """How often the answers are recognised; empty where it was not measured."""
    if "recognition" not in report:
        return ""
    rank1 = {name: bands["all"]["rank1"] for name, bands in report["recognition"].items()}
    model, feature, mean = (f"{100 * rank1[name]:.0f} %" for name in ("model", "feature", "mean target"))
    sharp = f"{100 * report['reconstruction']['model']['all']['sharpness']:.0f} %"
    lost = rank1["model"] < UNLIKE * rank1["feature"]
    told = "Its faces are not those of the people: recognised" if lost else "Recognised"
    return (
        f"{told} (rank-1) are {model} of its faces, {feature} of the features, {mean} of mean faces; "
        f"they are {sharp} as sharp as the targets. "
    )


def gan_verdict(report: dict[str, Any]) -> str:
    """How near the samples are to real faces, and whether some are copies."""
    pixels, faces = report["against the reference"], report[EMBEDDING]
    names = ("samples", "real faces", "noise")
    swd, frechet = (
        [f"{table[name][figure]:.3g}" for name in names]
        for table, figure in ((pixels, "swd"), (faces, "frechet distance"))
    )
    told = (
        f"Samples are {swd[0]} from real faces by sliced Wasserstein distance (other real faces {swd[1]}, noise "
        f"{swd[2]}) and {frechet[0]} by the Fréchet distance of identity embeddings ({frechet[1]}, {frechet[2]})."
    )
    highest = [faces[name].get("the same, highest") for name in names[:2]]
    if None in highest:
        return told
    nearer = highest[0] > highest[1]
    return told + (
        f" The sample most like a training face has a similarity of {highest[0]:.2f}, {'' if nearer else 'no '}more "
        f"than real faces that the run has not seen ({highest[1]:.2f}){': look for copies below' if nearer else ''}."
    )


def write_summary(run: Run) -> None:
    """Writes summary.html from what the run's folder holds."""
    settings, gan = run.settings, run.kind == "gan"
    report = run.folder / REPORT
    with reading_back(report, "run `python -m train evaluate` again"):
        evaluation = dict(json.loads(report.read_text(encoding="utf-8"))) if report.exists() else {}
        if gan:
            # Reports of before there was the embedding are not shown.
            evaluation = evaluation if EMBEDDING in evaluation else {}
            told = gan_verdict(evaluation) if evaluation else f"Not measured yet: python -m train evaluate {run.folder}"
        else:
            told = verdict(evaluation) if evaluation else NOBODY
    parts = [f"<h1>{html.escape(str(settings['preset']))}</h1>", f'<p class="verdict">{html.escape(told)}</p>']
    if grids := sorted((run.folder / "grids").glob("epoch-*.png")):
        caption = "Samples" if gan else "Rows from the top: feature, output, target"
        # Each epoch draws its grid with the weights it ends with.
        epoch = int(grids[-1].stem.rpartition("-")[2])
        parts += [_picture(grids[-1], f"{caption}; after epoch {epoch}, the last checkpoint's", "large")]
    if gan:
        nearest = "Samples, and below each the training faces nearest by embedding and by pixels"
        parts += [_picture(run.folder / NEAREST, nearest, "large")] if evaluation else []
    parts += [_picture(run.folder / "loss.png", GAN_LOSS if gan else LOSS), _story(run)]
    if evaluation:
        parts += _gan_figures(evaluation) if gan else _figures(evaluation)
    given = table(("setting", "value"), settings.items())
    parts += [f"<details><summary>Settings</summary>{given}</details>"]
    style = (files("facepipe.report") / "templates" / "style.css").read_text(encoding="utf-8")
    page = PAGE.format(title=html.escape(run.folder.name), style=style, body="\n".join(filter(None, parts)))
    run.write("summary.html", page)


def _gan_figures(report: dict[str, Any]) -> list[str]:
    compared = {title: sets for title, sets in report.items() if isinstance(sets, dict)}
    names = list(dict.fromkeys(name for sets in compared.values() for name in sets))
    rows = [
        (f"{figure}, {title}", *(sets.get(name, {}).get(figure, "") for name in names))
        for title, sets in compared.items()
        for figure in next(iter(sets.values()))
    ]
    heading = f"<h2>Beside {report['faces']:,} real faces ({html.escape(report['subset'])})</h2>"
    return [heading, table(("", *names), rows), _terms(DISTANCE_TERMS)]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """An HTML table; texts are escaped."""
    lines = ["<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    said = html.escape(f"Table of {', '.join(filter(None, head))}")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{said}"><table>'
        + "\n".join(lines)
        + "</table></div>"
    )


def _shown(cell: Any) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) and (cell == 0 or 1e-3 < abs(cell) < 1e4) else str(cell)


def _story(run: Run) -> str:
    rows = run.read_log()
    if not rows:
        return "<p>No epoch is finished.</p>"
    last = rows[-1]
    figures = [f"{said} {float(last[name]):.4f}" for name, said in LOGGED.items() if last.get(name)]
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    count = sum(row["epoch"] != "0" for row in rows)  # a GAN's row 0 tells where it started from
    epochs = f"{count} epoch{'s' * (count != 1)}"
    return f"<p>{epochs} in {seconds / 60:.1f} minutes; at the end {html.escape(', '.join(figures))}.</p>"


def _picture(path: Path, caption: str, kind: str = "plot") -> str:
    if not path.exists():
        return ""
    content = base64.b64encode(path.read_bytes()).decode()
    said = html.escape(caption)
    picture = f'<img alt="{said}" src="data:image/png;base64,{content}">'
    return f'<figure class="{kind}">{picture}<figcaption>{said}</figcaption></figure>'


def _figures(report: dict[str, Any]) -> list[str]:
    """One table: an answer by yaw band with its errors, and how often it is recognised."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    recognised = {
        f"{name}, {bands['dimension']} numbers": {band: row for band, row in bands.items() if isinstance(row, dict)}
        for name, bands in report["identity"].items()
    }
    for found in (report["reconstruction"], report.get("recognition", {}), recognised):
        for name, bands in found.items():
            for band, row in bands.items():
                rows.setdefault((name, band), {}).update({"images": row.get("images", row.get("probes", "")), **row})
    of = f"{html.escape(report['subset'])}: {report['pairs']:,} pairs of {report['identities']:,} people"
    names = ("answer", "yaw, degrees", "images", "MSE", "MAE", "PSNR, dB", "SSIM", "sharpness", "gain-free", "rank-1")
    shown = ("images", *MEASURES, "rank1", "rank1_of_100", "auc")
    return [
        f"<h2>Figures, {of}</h2>",
        f"<p>By the {html.escape(report['checkpoint'])} checkpoint, of epoch {report['epoch']}.</p>",
        table(
            (*names, "rank-1 of 100", "AUC"),
            [(*name, *(row.get(figure, "") for figure in shown)) for name, row in rows.items()],
        ),
        _terms((*RECONSTRUCTION_TERMS, *RECOGNITION_TERMS, *IDENTITY_TERMS)),
    ]


def _terms(terms: Iterable[tuple[str, str]]) -> str:
    lines = [f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(said)}</dd></div>" for name, said in terms]
    return '<details open><summary>What the words mean</summary><dl class="terms">' + "".join(lines) + "</dl></details>"
