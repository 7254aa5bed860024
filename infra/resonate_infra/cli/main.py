"""Entry point of the script `resonate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from resonate_infra.distributions import conflict
from resonate_infra.inspection.exits import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments. Default: those of the process.

    Returns:
        The exit code, one of `resonate_infra.inspection.exits`.
    """
    try:
        if (line := conflict()) is not None:
            print(f"warning: {line}", file=sys.stderr)
        try:
            from resonate_infra.cli.application import application
        except ModuleNotFoundError as error:
            if error.name != "typer":
                raise
            print("error: the command line needs typer: pip install 'resonate-serverless[cli]'", file=sys.stderr)
            return 1
        return application().main(arguments, prog_name="resonate", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
