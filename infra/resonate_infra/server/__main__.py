"""`python -m resonate_infra.server`: the development server without the command line's libraries."""

from __future__ import annotations

import argparse
import sys

from resonate_infra.server.assembly import PORT, Options
from resonate_infra.server.process import LEVELS, serve


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m resonate_infra.server", description="the development server")
    parser.add_argument("--host", default="localhost", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--url", help="where workers reach this server, if not at host and port")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data", metavar="FILE", help="keep promises in this SQLite file, not in memory")
    where.add_argument("--table", metavar="NAME", help="keep promises in this DynamoDB table")
    parser.add_argument(
        "--lambda",
        dest="lambdas",
        action="append",
        default=[],
        metavar="GROUP=MODULE:HANDLER",
        help="serve a group by a Lambda handler in this process",
    )
    parser.add_argument("--lambda-timeout", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help="let pages of this origin call")
    parser.add_argument("--auth-public-key", metavar="FILE", help="ask for tokens that this key verifies, or `none`")
    parser.add_argument("--auth-issuer", metavar="ISSUER")
    parser.add_argument("--auth-audience", metavar="AUDIENCE")
    parser.add_argument("--debug", action="store_true", help="answer debug requests")
    parser.add_argument("--log-level", choices=LEVELS, default="info")
    given = parser.parse_args(arguments)
    options = Options(
        host=given.host,
        port=given.port,
        url=given.url,
        data=given.data,
        table=given.table,
        lambdas=tuple(given.lambdas),
        lambda_timeout=given.lambda_timeout,
        origins=tuple(given.cors),
        debug=given.debug,
        auth_key=given.auth_public_key,
        auth_issuer=given.auth_issuer,
        auth_audience=given.auth_audience,
    )
    return serve(options, given.log_level)


if __name__ == "__main__":
    sys.exit(main())
