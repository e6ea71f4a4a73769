"""What to read: images and videos of an input folder, with the person on each, in one fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.errors import UsageError
from facepipe.sources.layouts import find_layout
from facepipe.sources.listing import Group, Listing, ListingBuilder
from facepipe.sources.manifest import read_manifest
from facepipe.sources.names import natural_key
from facepipe.sources.notes import describe, left_out
from facepipe.sources.sizes import local_sizes
from facepipe.sources.tree import open_tree

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
        UsageError: a manifest or label file that can't be meant.
    """
    if config.manifest:
        builder = ListingBuilder(config.limit, local_sizes(place.local_path()) if place.is_local else None)
        for group in read_manifest(config.manifest, config.label, optional_label=config.label == _DEFAULT_LABEL):
            builder.add(group)
            if builder.is_full:
                break
        return builder.finish("manifest", [])
    tree = open_tree(place)
    builder = ListingBuilder(config.limit, tree.sizes)
    layout = find_layout(config.layout, tree)
    tree.start_over()
    label = "" if config.label == _DEFAULT_LABEL else config.label
    if label and layout.name != "celeba":
        raise UsageError(
            f"--label {label} needs a --manifest with that column, or CelebA; this input is read as {layout.name}"
        )
    for group in layout.groups(tree, label):
        builder.add(group)
        if builder.is_full:
            break
    return builder.finish(layout.name, left_out(tree.unread()) + sorted(tree.notes, key=natural_key))
