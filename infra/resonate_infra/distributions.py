"""Check for a second distribution with the import name `resonate`: the official SDK."""

from __future__ import annotations

OURS = "resonate-serverless"
OFFICIAL = "resonate-sdk"


def conflict() -> str | None:
    """Return a line that says what to do if both distributions are installed. Return None if they are not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        official, ours = version(OFFICIAL), version(OURS)
    except PackageNotFoundError:
        return None
    return (
        f"{OFFICIAL} {official} and {OURS} {ours} are both installed, and both are imported as `resonate`: the files of"
        f" one have replaced those of the other; pip uninstall {OFFICIAL}, then pip install --force-reinstall {OURS}"
    )


def others() -> list[str]:
    """Return the names of the other distributions that have a package `resonate`."""
    from importlib.metadata import packages_distributions

    return sorted({name for name in packages_distributions().get("resonate", ()) if name.lower() != OURS})
