"""`python -m resonate_infra.cli`: the command line, where its script is not installed."""

from __future__ import annotations

import sys

from resonate_infra.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
