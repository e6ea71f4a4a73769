"""The command line made from the table in `config.py`: typer's parameters, and help in groups."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from facepipe.errors import UsageError
from facepipe.options import EVERYDAY, GROUPS, Option, options_of
from facepipe.text import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "tuple[str, ...]": list[str]}
"""Kind of an option -> what typer makes of its text; any other is a text."""
METAVARS = {"int": "N", "float": "F", "str": "TEXT"}


def takes(
    *kinds: type, only: tuple[str, ...] = (), among_others: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command that takes `**given` the options of config classes, or `only` some, after its own parameters.

    `among_others`: the command is for several stages; it does not take their paths, nor show what is for a stage alone.
    """
    options = [
        one
        for one in options_of(*kinds).values()
        if not (among_others and one.folder) and (not only or one.field in only)
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        every = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in own]
        every += [_parameter(one, hidden=bool(one.retired) or (one.alone and among_others)) for one in options]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in every} | {"return": None}
        return command

    return decorate


def _group(option: Option) -> str:
    return EVERYDAY if option.everyday else option.group


def _parameter(option: Option, *, hidden: bool) -> inspect.Parameter:
    """An option as typer takes it. Its value is None where it was not given."""
    default = option.shown_default
    declared = typer.Option(
        *option.flags,
        help=f"{option.help} [{default}]" if default else option.help,
        metavar=option.metavar or "|".join(option.choices) or METAVARS.get(option.kind),
        envvar=option.envvar or None,
        show_default=False,
        hidden=hidden,
        callback=option.on_read,
        is_eager=option.on_read is not None,
        rich_help_panel=_group(option),
    )
    kind: Any = TYPES.get(option.kind, str) | None
    return inspect.Parameter(
        option.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, declared]
    )


class Command(TyperCommand):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes a section a group."""
        for title, rows in help_groups(self, ctx).items():
            with formatter.section(title):
                formatter.write_dl(rows)


class Commands(TyperGroup):
    """The commands; a wrong one is answered with the right ones."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name."""
        found = super().get_command(ctx, cmd_name)
        if found is None and not ctx.resilient_parsing and not cmd_name.startswith("-"):
            guess = nearest(cmd_name, self.commands)
            every = f" The commands are {', '.join(self.commands)}" if guess.startswith("did you mean") else ""
            raise UsageError(f"there is no command {cmd_name!r}; {guess}{every}")
        return found


def help_groups(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """Group -> names and help of a command's parameters, groups in the order of the table."""
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Arguments", *GROUPS, "Other options")}
    for parameter in command.get_params(context):
        if (row := parameter.get_help_record(context)) is not None:
            argument = parameter.param_type_name == "argument"
            title = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or "Other options"
            groups[title].append(row)
    return {title: rows for title, rows in groups.items() if rows}
