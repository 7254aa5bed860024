"""What is installed under the import name `resonate`: this distribution, and perhaps the official SDK as well."""

from __future__ import annotations

OURS = "resonate-serverless"
OFFICIAL = "resonate-sdk"


def conflict() -> str | None:
    """Return a line that says what to do if both distributions are installed; None if they are not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        official, ours = version(OFFICIAL), version(OURS)
    except PackageNotFoundError:
        return None
    return (
        f"{OFFICIAL} {official} and {OURS} {ours} are both installed, and both are imported as `resonate`: the files of"
        f" one have replaced those of the other; pip uninstall {OFFICIAL}, then pip install --force-reinstall {OURS}"
    )
