"""Errors of programs that use the SDK in a way that cannot work. Each is a `TypeError` or a `ValueError` too.

The text names what is wrong and what to write instead. docs/errors.md explains each.
"""

from __future__ import annotations

from resonate_store.documented import Documented


class ArgumentTypeError(Documented, TypeError):
    """An argument or option has the wrong type."""


class ArgumentValueError(Documented, ValueError):
    """An argument or option has a value that is not possible."""


class UnknownOptionError(ArgumentTypeError):
    """An option does not exist. The text lists those that exist."""


class MissingContextError(Documented, TypeError):
    """A function has no first parameter for its context."""


class NotAFunctionError(Documented, ValueError):
    """What was given cannot be called as a step or workflow, such as the result of a call, or an async generator."""


class NotRegisteredError(Documented, ValueError):
    """A function is not registered in this process, or not in that version. The text lists those that are."""


class AlreadyRegisteredError(Documented, ValueError):
    """Another function has the name and version, or the function is registered already. The text says which."""


class ForeignPromiseError(Documented, ValueError):
    """A workflow awaits a promise of another execution, or one that is settled only after the workflow has ended."""


class ProgramError(Documented, TypeError):
    """A function is written in a way that cannot work. The text says what to change. The call is not retried."""


for _kind in (
    AlreadyRegisteredError,
    ArgumentTypeError,
    ArgumentValueError,
    ForeignPromiseError,
    MissingContextError,
    NotAFunctionError,
    NotRegisteredError,
    ProgramError,
    UnknownOptionError,
):
    _kind.__module__ = "resonate.errors"  # where programs import it from, and the name under which it is stored
