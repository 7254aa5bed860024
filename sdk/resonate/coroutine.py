"""Import path of SDK 0.6.7."""

from resonate.workflow.commands import LFC, LFI, RFC, RFI, Promise, Yieldable
from resonate.workflow.commands import External as RFX
from resonate.workflow.commands import LocalCall as LFX

__all__ = ["LFC", "LFI", "LFX", "RFC", "RFI", "RFX", "Promise", "Yieldable"]
