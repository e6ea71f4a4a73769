"""Pages from templates, in which every value is escaped."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable


def load_templates(src: Callable[[tuple[int, int]], str], **content: Any) -> Callable[..., str]:
    """A function from a template's name and its content to HTML.

    Args:
        src: from part and row of a crop to its address.
        content: what all pages have.

    Raises:
        MissingExtra: Jinja2 is not installed.
    """
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise MissingExtra("the pages need Jinja2; install it with: pip install 'facepipe[report]'") from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facepipe.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def mark(pattern: str, element: str) -> Callable[[str], Any]:
        def marked(text: str) -> Any:
            pieces = [markupsafe.escape(piece) for piece in re.split(pattern, text)]
            return markupsafe.Markup().join(
                markupsafe.Markup(element).format(piece)  # noqa: S704 - an element of ours, around escaped text
                if number % 2
                else piece
                for number, piece in enumerate(pieces)
            )

        return marked

    environment.filters |= {
        "src": src,
        "degrees": lambda angle: "unknown" if np.isnan(angle) else f"{angle:.1f}°",
        "signed": lambda angle: "?" if np.isnan(angle) else f"{round(angle):+d}°",
        "number": lambda count: f"{count:,}",
        "code": mark(r"`([^`]*)`", "<code>{}</code>"),
        "whole_options": mark(r"(--[\w-]+)", '<span class="whole">{}</span>'),
    }
    environment.globals |= content
    return lambda name, **own: environment.get_template(name).render(**own)


def read_asset(name: str) -> str:
    """The style sheet or the script."""
    return (files("facepipe.report") / "templates" / name).read_text(encoding="utf-8")
