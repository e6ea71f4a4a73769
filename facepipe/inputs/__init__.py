"""What to read: images and videos of an input folder, with the person on each, in one fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.errors import UsageError
from facepipe.inputs.datasets import find_layout, layout_named
from facepipe.inputs.disk import LocalTree
from facepipe.inputs.listing import Group, Listing, ListingBuilder
from facepipe.inputs.manifest import read_manifest
from facepipe.inputs.names import natural_key
from facepipe.inputs.notes import describe
from facepipe.inputs.store import StoreTree

if TYPE_CHECKING:
    from facepipe.config import ExtractConfig
    from facepipe.storage import Place

__all__ = ["Group", "Listing", "describe", "list_sources"]

_DEFAULT_LABEL = "label"


def list_sources(place: Place, config: ExtractConfig) -> Listing:
    """Lists what `config` says of an input: `layout` or `manifest`, `label`, `limit`.

    The order is by identity, video and frame, numbers by their value; it depends on names alone, not on the disk, the
    locale or the time. With `limit`, the first so many.

    Raises:
        InputError: the input is missing, or not what its layout says.
        UsageError: a manifest or label file that can't be meant, or a layout that is none.
    """
    asked = layout_named(config.layout)
    tree = LocalTree(place) if place.is_local else StoreTree(place)
    if config.manifest:
        builder = ListingBuilder(config.limit, tree.sizes if place.is_local else None)
        optional = config.label == _DEFAULT_LABEL
        builder.extend(read_manifest(config.manifest, config.label, tree.is_video, optional_label=optional))
        return builder.finish("manifest", [])
    builder = ListingBuilder(config.limit, tree.sizes)
    layout = find_layout(asked, tree)
    tree.start_over()
    label = "" if config.label == _DEFAULT_LABEL else config.label
    if label and layout.name != "celeba":
        raise UsageError(
            f"--label {label} needs a --manifest with that column, or CelebA; this input is read as {layout.name}"
        )
    builder.extend(layout.groups(tree, label))
    return builder.finish(layout.name, [*tree.said, *tree.left_out.tell(), *sorted(tree.notes, key=natural_key)])
