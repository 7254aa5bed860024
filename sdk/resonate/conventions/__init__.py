"""Import path of SDK 0.6.7."""

from resonate.compat.conventions import Base, Local, Remote, Sleep

__all__ = ["Base", "Local", "Remote", "Sleep"]
