"""What an evaluation says to a person: one sentence on whether the run learned something, and what its terms mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

FEW = 20
"""People below which a difference may well be chance."""
HOLD_BACK = "`facepipe split --validation 0.3 --overwrite` and `facepipe shard --overwrite`, then train again"
RECONSTRUCTION_TERMS = (
    ("model", "what the network made of the side face"),
    ("mean target", "the mean of all frontal faces it was taught with, given as the answer to everybody"),
    ("feature resized", "the side face itself, given as the answer"),
    ("MSE, MAE", "mean squared and mean absolute error of a pixel, 0 to 1: lower is better"),
    ("PSNR, SSIM", "the squared error in decibels, and likeness of structure up to 1: higher is better"),
)
IDENTITY_TERMS = (
    ("fingerprints", "the network's latent vectors; beside them the pixels, and PCA of the frontal faces"),
    ("probes", "side faces for which the person is sought, by one frontal picture of each"),
    ("rank-1", "share of the probes whose nearest frontal picture is of the right person"),
    ("AUC", "how often a picture of the same person is nearer than one of another: 0.5 by chance, 1 always"),
)


def where_to_look(rows: Sequence[tuple[str, str]]) -> list[str]:
    """The last lines of a training: what for, and the file or command, in two columns."""
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {place}" for name, place in rows]


def verdict(report: dict[str, Any]) -> str:
    """Whether the model's error is below that of an answer that takes no learning."""
    model, mean = (report["reconstruction"][name]["all"]["mse"] for name in ("model", "mean target"))
    figures = f"{model:.4f} against {mean:.4f}"
    if not model < mean:
        return f"The model's MSE is not below the mean target's ({figures}): train longer, or on more people."
    told = f"The model's MSE is {100 * (1 - model / mean):.0f} % under the mean target's ({figures})"
    if report["subset"] == "train":
        return f"{told}, on the very people it was taught with: that tells nothing of others."
    if report.get("trained_on"):
        return f"{told}, but it was taught with {report['trained_on']:,} of these people: that tells little of others."
    few = report["identities"] < FEW
    people = f"{report['identities']:,} {'person' if report['identities'] == 1 else 'people'}"
    return f"{told}, on {people} it was not taught with{': so few that it may be chance' if few else ''}."
