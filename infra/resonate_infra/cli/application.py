"""The commands put together, and the one place where what goes wrong becomes a line and an exit code.

Typer shows errors in a frame of several lines, and what it does not know as a traceback. Here everything ends alike:
one line on the error stream, nothing else, and a code of `resonate_infra.cli.exits`. A defect of ours is told in one
line, too; with RESONATE_TRACEBACK set it is shown whole.

The module of a command is imported when the command is run or explained, so such a module has its imports at the top.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from resonate_infra.cli.exits import BROKEN_PIPE, FAILED, UNREACHABLE, Failure, code_for
from resonate_infra.cli.parameters import help_of
from resonate_infra.cli.session import before_commands


class LazyCommand(NamedTuple):
    """A command whose module is imported when the command is run or explained.

    Attributes:
        module: of `resonate_infra.cli.commands`.
        attribute: the command's function, or the Typer of a group of commands.
        help: what the list of all commands says, the first paragraph of the command's own help.
    """

    module: str
    attribute: str
    help: str


COMMANDS = {
    "dev": LazyCommand("dev", "dev", "Run a Resonate server for development, until Ctrl-C."),
    "invoke": LazyCommand("invocation", "invoke", "Start an execution: have a worker run a function, durably."),
    "tree": LazyCommand(
        "tree", "tree", "Show an execution as a tree of its calls, with state, time, attempts and outcome of each."
    ),
    "delete": LazyCommand(
        "deletion", "delete", "Delete an execution that has ended, with everything below it; only over --table."
    ),
    "init": LazyCommand(
        "projects",
        "init",
        "Write a new project: workflows, a test that passes, and the template that adds them to a deployment.",
    ),
    "executions": LazyCommand("executions", "group", "Look at executions."),
    "promises": LazyCommand("promises", "group", "Look at promises, create and settle them."),
    "tasks": LazyCommand("tasks", "group", "Look at tasks, halt and continue them."),
    "schedules": LazyCommand("schedules", "group", "Have functions run, or promises created, at set times."),
    "history": LazyCommand("history", "group", "Export what an execution has recorded."),
}


@functools.cache
def loaded(name: str) -> Any:
    """Import a command of `COMMANDS`, and return it as it is run."""
    lazy = COMMANDS[name]
    command = getattr(import_module(f"resonate_infra.cli.commands.{lazy.module}"), lazy.attribute)
    app = typer.Typer()
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, no_args_is_help=True)
    else:
        app.command(name, help=help_of(command))(command)
    return typer.main.get_group(app).commands[name]


class Commands(TyperGroup):
    """All commands; running them ends in an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; in standalone mode, end the process with its exit code."""
        extra["windows_expand_args"] = windows_expand_args
        run = functools.partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        code = _code_of(run)
        if standalone_mode:
            sys.exit(code)
        return code

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the arguments of a command line; `commands` holds only names and help."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else loaded(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # What is left in the buffer goes nowhere, or Python would complain of it at the very end.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            raise typer.Exit(BROKEN_PIPE) from None


def _code_of(run: Callable[[], Any]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        result = run()
        return result if isinstance(result, int) else 0
    except Failure as failure:
        return _told(str(failure), failure.code)
    except typer.TyperException as error:
        ctx = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            if text := error.format_message():  # else it has been written by Rich
                print(text, file=sys.stderr)
            return error.exit_code
        hint = f"; see {ctx.command_path} --help" if ctx is not None else ""
        return _told(error.format_message().rstrip(".") + hint, error.exit_code)
    except typer.Abort:
        return _told("aborted", FAILED)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    from resonate.errors import ResonateError, ResonateStoreError
    from resonate_store.interface import StoreError

    if isinstance(error, StoreError):
        return _told(str(error), UNREACHABLE)
    if isinstance(error, ResonateStoreError):
        return _told(error.mesg, code_for(error.status))
    if isinstance(error, ResonateError):
        return _told(error.mesg, FAILED)
    if os.environ.get("RESONATE_TRACEBACK"):
        raise error
    if isinstance(error, OSError):
        return _told(str(error), FAILED)
    return _told(
        f"{type(error).__name__}: {error} (a defect of this program: RESONATE_TRACEBACK=1 shows where)", FAILED
    )


def _told(message: str, code: int) -> int:
    from resonate_infra.text import plain

    print(f"error: {plain(' '.join(message.split()))}", file=sys.stderr)
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"resonate {version('resonate-serverless')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Durable execution without a server to run: start executions, look at them, and develop against them.

    Promises are at the Resonate server of --url (http://localhost:8001 if nothing is said), or in the DynamoDB table of
    --table. RESONATE_URL, RESONATE_TABLE and RESONATE_TOKEN stand for these options, AWS_ENDPOINT_URL leads to
    another DynamoDB. Every command has --json for scripts, and exit codes that tell outcomes apart:

    0 done or resolved, 1 refused, 2 wrong usage, 3 rejected, 4 timed out, 5 canceled, 6 not found, 7 unreachable,
    8 halted, 9 still pending.
    """


@functools.cache
def application() -> Any:
    """The whole command line, as a command that can be run."""
    app = typer.Typer(
        cls=Commands,
        name="resonate",
        callback=before_commands(_options),
        help=help_of(_options),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    group: Any = typer.main.get_command(app)
    for name, lazy in COMMANDS.items():
        group.add_command(TyperCommand(name, help=lazy.help))
    return group
