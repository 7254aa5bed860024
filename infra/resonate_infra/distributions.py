"""Check for a second distribution with the import name `resonate`: the official SDK."""

from __future__ import annotations

import os
import sys

OURS = "resonate-serverless"
OFFICIAL = "resonate-sdk"


def conflict() -> str | None:
    """Return a line that says what to do if both distributions are installed. Return None if they are not."""
    official, ours = version_of(OFFICIAL), version_of(OURS)
    if official is None or ours is None:
        return None
    return (
        f"{OFFICIAL} {official} and {OURS} {ours} are both installed, and both are imported as `resonate`: the files of"
        f" one have replaced those of the other; pip uninstall {OFFICIAL}, then pip install --force-reinstall {OURS}"
    )


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None if it has no folder with metadata.

    The name of the folder is enough. `importlib.metadata` says the same, but its import takes a fifth of the time in
    which the command line starts.
    """
    begin, end = f"{distribution.replace('-', '_')}-", ".dist-info"
    for folder in sys.path:
        try:
            names = os.listdir(folder or os.curdir)
        except OSError:  # a zip file, or a folder that does not exist
            continue
        for name in names:
            if name.startswith(begin) and name.endswith(end):
                return name.removeprefix(begin).removesuffix(end)
    return None


def others() -> list[str]:
    """Return the names of the other distributions that have a package `resonate`."""
    from importlib.metadata import packages_distributions

    return sorted({name for name in packages_distributions().get("resonate", ()) if name.lower() != OURS})
