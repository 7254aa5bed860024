"""The commands put together, and the one place where what goes wrong becomes a line and an exit code.

Typer shows errors in a frame of several lines, and what it does not know as a traceback. Here everything ends alike:
one line on the error stream, nothing else, and a code of `resonate_infra.cli.exits`. A defect of ours is told in one
line, too; with RESONATE_TRACEBACK set it is shown whole.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from resonate_infra.cli.commands import (
    deletion,
    dev,
    executions,
    history,
    invocation,
    projects,
    promises,
    schedules,
    tasks,
    tree,
)
from resonate_infra.cli.exits import BROKEN_PIPE, FAILED, UNREACHABLE, Failure, code_for
from resonate_infra.cli.parameters import help_of
from resonate_infra.cli.session import before_commands


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
    app.command("dev", help=help_of(dev.dev))(dev.dev)
    app.command("invoke")(invocation.invoke)
    app.command("tree")(tree.tree)
    app.command("delete")(deletion.delete)
    app.command("init", help=help_of(projects.init))(projects.init)
    for name, group in (
        ("executions", executions.group),
        ("promises", promises.group),
        ("tasks", tasks.group),
        ("schedules", schedules.group),
        ("history", history.group),
    ):
        app.add_typer(group, name=name, no_args_is_help=True)
    return typer.main.get_command(app)
