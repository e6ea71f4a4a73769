"""The command line made from tables of options: parameters as typer takes them, help in groups, errors of one line."""

from __future__ import annotations

import gc
import inspect
import os
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from facepipe.config import Common
from facepipe.errors import FacepipeError, Interrupted, UsageError
from facepipe.execution.progress import say, set_log_format
from facepipe.options import EVERYDAY, GROUPS, Option, options_of
from facepipe.text import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "tuple[str, ...]": list[str]}
"""Kind of an option -> what typer makes of its text; any other is a text."""
METAVARS = {"int": "N", "float": "F", "str": "TEXT"}
CommandLineError: Any = typer.BadParameter.__mro__[2]
"""The base of typer's errors about the command line."""


def make_app(name: str, text: str, print_versions: Callable[[], None]) -> typer.Typer:
    """A program without commands yet."""
    app = typer.Typer(
        name=name,
        cls=Commands,
        help=text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def on_version(wanted: bool) -> None:
        if wanted:
            print_versions()
            raise typer.Exit

    def common(
        _version: bool = typer.Option(
            False, "--version", callback=on_version, is_eager=True, help="Print the versions."
        ),
    ) -> None:
        """What is given before a command."""

    app.callback()(common)
    return app


def add_command(
    app: typer.Typer,
    name: str,
    text: str | None,
    kinds: tuple[type, ...],
    go: Callable[[Common, dict[str, Any]], None],
    *,
    without: tuple[str, ...] = (),
    shown: Mapping[str, Any] | None = None,
    hidden: bool = False,
) -> None:
    """Adds a command that takes the options of config classes, less those named in `without`.

    Of several stages the command takes no paths but the first class's, nor shows what is for a stage alone. It calls
    `go` with what is common to all commands, and the other options by field; None is one that was not given. `shown`
    are defaults for the help alone; a hidden command is not listed.
    """
    among_others = len(kinds) > 2
    taken = [one for one in options_of(*kinds).values() if one.field not in without]
    taken = [replace(one, default=shown[one.field]) if shown and one.field in shown else one for one in taken]
    parameters = [
        _parameter(one, hidden=bool(one.retired) or (one.alone and among_others))
        for one in taken
        if not (among_others and one.folder) or one.field in options_of(kinds[0])
    ]

    def command(**given: Any) -> None:
        common = Common(**{name: given.pop(name) for name in options_of(Common) if name in given})
        go(common, given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    app.command(name, cls=Command, help=inspect.cleandoc(text or ""), hidden=hidden)(command)


def _parameter(option: Option, *, hidden: bool) -> inspect.Parameter:
    """An option as typer takes it. Its value is None where it was not given."""
    shown: dict[str, Any] = {
        "help": option.help_text,
        "metavar": option.metavar or "|".join(option.choices) or METAVARS.get(option.kind),
        "envvar": option.envvar or None,
        "show_default": False,
        "hidden": hidden,
        "rich_help_panel": EVERYDAY if option.everyday else option.group,
    }
    declared = typer.Argument(**shown) if option.argument else typer.Option(*option.flags, **shown)
    kind: Any = TYPES.get(option.kind, str)
    required = option.argument and option.default is None
    return inspect.Parameter(
        option.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[kind if required else kind | None, declared],
    )


class Command(TyperCommand):
    """A command whose help shows its options in groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; every error knows its command, to name the help that explains it."""
        try:
            return super().parse_args(ctx, args)
        except CommandLineError as error:
            error.ctx = error.ctx or ctx
            raise

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
            # Typer puts an argument's type behind its name: RECIPE <str>.
            groups[title].append((row[0].partition(" <")[0], row[1]) if argument else row)
    return {title: rows for title, rows in groups.items() if rows}


def run_app(app: typer.Typer, guard: Callable[[], AbstractContextManager[object]] | None = None) -> None:
    """Runs the command line; a known error becomes one line and its exit code.

    `guard` handles signals in its own way; else they raise `Interrupted`.
    """
    from facepipe.execution import interruptible

    # Before the command line is read: what is wrong with it is told in this format too.
    set_log_format("json" if re.search(r"\0--log-format[=\0]json\0", "\0".join([*sys.argv, ""])) else "text")
    try:
        with (guard or interruptible)():
            code = app(standalone_mode=False)
    except Interrupted as error:
        _complain(str(error) or "stopped", error.exit_code)
        sys.stdout.flush()
        # Everything of ours is put away. Exit handlers have nothing to save, and a store's waits for what is under way.
        os._exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = Interrupted.exit_code
        _complain("stopped; what is finished is kept, and the same command goes on from there", code)
    except FacepipeError as error:
        code = error.exit_code
        _complain(str(error), code)
    except CommandLineError as error:
        code = _refuse(error)
    except BrokenPipeError:
        # Whoever read the output has left (`| head`): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    finally:
        gc.freeze()  # the process ends here: looking for garbage before would take a tenth of a second
    sys.exit(code)


def _complain(message: str, code: int) -> None:
    say(f"error: {message}", event="error", stream=sys.stderr, message=message, exit_code=code)


def _refuse(error: Any) -> int:
    """A line on what is wrong with the command line, or the help where it is empty; gives the exit code."""
    if not sys.argv[1:]:
        error.show()
    else:
        called = error.ctx.command_path if error.ctx else "facepipe"
        _complain(f"{error.format_message().rstrip('.')}; `{called} --help` lists what there is", error.exit_code)
    return int(error.exit_code)
