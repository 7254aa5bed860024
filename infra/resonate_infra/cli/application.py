"""Assembly of the commands, and the conversion of errors into one line and an exit code.

Typer would show errors in a frame of several lines, and unknown exceptions as tracebacks. Here every error is one line
on the error stream, and an exit code of `resonate_infra.inspection.exits`. A defect of this program is also one line.
With RESONATE_TRACEBACK set, it is shown as a traceback.

The module of a command is imported only when the command runs or its help is shown. So these modules have their imports
at the top.
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

from resonate_infra.cli.connection import before_commands
from resonate_infra.cli.parameters import help_of
from resonate_infra.distributions import OURS, version_of
from resonate_infra.inspection.exits import BROKEN_PIPE, FAILED, UNREACHABLE, Failure, code_for


class LazyCommand(NamedTuple):
    """Command whose module is imported only when the command runs or its help is shown.

    Attributes:
        module: the module in `resonate_infra.cli.commands`.
        attribute: the command's function, or the Typer of a group of commands.
        help: the command's text in the list of all commands. Equal to the first paragraph of its own help.
    """

    module: str
    attribute: str
    help: str


COMMANDS = {
    "dev": LazyCommand("dev", "dev", "Run a Resonate server for development, until Ctrl-C."),
    "invoke": LazyCommand("invocation", "invoke", "Start an execution: a worker runs a function durably."),
    "tree": LazyCommand(
        "tree", "tree", "Show an execution as a tree of its calls, each with state, time, attempts and outcome."
    ),
    "delete": LazyCommand("deletion", "delete", "Delete an execution that has ended, and everything below it."),
    "init": LazyCommand(
        "projects",
        "init",
        "Write a new project: workflows, tests that pass, and a template that adds them to a deployment.",
    ),
    "console": LazyCommand(
        "console",
        "console",
        "Serve the console on this machine, until Ctrl-C: a web page that shows executions and makes them continue.",
    ),
    "lint": LazyCommand(
        "linting",
        "lint",
        "Check workflows without running them: what a replay would not repeat, and commands that have no effect.",
    ),
    "explain": LazyCommand(
        "linting", "explain", "Explain an error, a lint rule or a status: what it means, its causes, and the way out."
    ),
    "doctor": LazyCommand(
        "doctor", "doctor", "Check this installation, and the deployment or server that it is connected to."
    ),
    "executions": LazyCommand(
        "executions", "group", "List, cancel, retry, fork, delete and move executions, and send messages to them."
    ),
    "promises": LazyCommand("promises", "group", "Show, create and settle promises."),
    "tasks": LazyCommand("tasks", "group", "Show, halt and continue tasks."),
    "schedules": LazyCommand("schedules", "group", "Manage schedules, which run functions or create promises."),
    "history": LazyCommand("tree", "history", "Export the records of an execution."),
}


@functools.cache
def loaded(name: str) -> Any:
    """Import a command of `COMMANDS` and return it ready to run."""
    lazy = COMMANDS[name]
    command = getattr(import_module(f"resonate_infra.cli.commands.{lazy.module}"), lazy.attribute)
    app = typer.Typer()
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, no_args_is_help=True)
    else:
        app.command(name, help=help_of(command))(command)
    return typer.main.get_group(app).commands[name]


class Commands(TyperGroup):
    """Group of all commands. Running a command returns an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and return its exit code. In standalone mode, end the process with it."""
        extra["windows_expand_args"] = windows_expand_args
        run = functools.partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        code = _code_of(run)
        if standalone_mode:
            sys.exit(code)
        return code

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name, the command and the arguments of a command line. Import the command's module."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else loaded(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the context names."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # Discard the rest of the buffer. Otherwise Python reports an error when it flushes the buffer at exit.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            raise typer.Exit(BROKEN_PIPE) from None


def _code_of(run: Callable[[], Any]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Do not fail on characters a terminal cannot show.
            stream.reconfigure(errors="backslashreplace")
    try:
        result = run()
        return result if isinstance(result, int) else 0
    except Failure as failure:
        return _told(str(failure), failure.code)
    except typer.TyperException as error:
        ctx = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            if text := error.format_message():  # If it is empty, Rich has written the text.
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
        print(f"resonate {version_of(OURS) or 'of an unknown version'}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Durable execution without a server to run: start executions, inspect them, and develop them on this machine.

    Promises are at the Resonate server of --url (default: http://localhost:8001), or in the DynamoDB table of --table.
    If these options are not given, RESONATE_URL, RESONATE_TABLE and RESONATE_TOKEN are used. AWS_ENDPOINT_URL selects
    another DynamoDB. Every command has --json for scripts. The exit code names the outcome:

    0 done or resolved, 1 refused, 2 wrong usage, 3 rejected, 4 timed out, 5 canceled, 6 not found, 7 unreachable,
    8 halted, 9 still pending.
    """


@functools.cache
def application() -> Any:
    """Return the whole command line, ready to run."""
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
