"""Commands about changes of the code of workflows in flight."""

from __future__ import annotations

from string import ascii_letters, digits
from typing import NoReturn, TypeVar

from resonate.errors.mistakes import ArgumentTypeError, ArgumentValueError
from resonate.workflow.commands import Command, misused

T_co = TypeVar("T_co", covariant=True)
_LONGEST_NAME = 64
_CHARACTERS = frozenset(ascii_letters + digits + "_-")


class _OfPatch(Command[T_co]):
    """Base of the commands about one patch, with its `name`. They have no number."""

    __slots__ = ("name",)
    kind = "patch"
    special = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class Patched(_OfPatch[bool]):
    """Command that asks whether the workflow has a patch."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise misused(self)


class PatchDeprecated(_OfPatch[None]):
    """Command that names a patch which every execution has by now. It does nothing."""

    __slots__ = ()


class Patching:
    """The methods of `Context` about patches."""

    __slots__ = ()

    def patched(self, name: str) -> Patched:
        """Ask whether to run changed code: true for new executions, false for one that has passed this place.

            if (yield ctx.patched("taxes-2")):
                taxes = yield ctx.run(new_taxes, order)
            else:
                taxes = yield ctx.run(old_taxes, order)

        It is false if a command of this workflow beyond this place is recorded. Otherwise it is true, and this is
        recorded under the name, once for each workflow. Replay gives the same answer. The command takes no number, so
        adding or removing it does not shift the commands after it.

        Args:
            name: the name of the change: 1 to 64 letters, digits, hyphens and underscores of ASCII.

        Returns:
            A command. Yield or await it for a `bool`.

        Raises:
            TypeError: `name` is not a `str`.
            ValueError: it is empty or too long, or has another character.
        """
        return Patched(_checked(name))

    def deprecate_patch(self, name: str) -> PatchDeprecated:
        """Name a patch whose old code is removed, because all executions that could need it have ended.

            yield ctx.deprecate_patch("taxes-2")
            taxes = yield ctx.run(new_taxes, order)

        It does nothing, for executions with and without the record of the patch. It shows readers which records may
        still exist, and that the name must not be used again. Remove it when these executions have ended too.

        Args:
            name: as for `patched`.

        Returns:
            A command. Yield or await it.

        Raises:
            TypeError, ValueError: as for `patched`.
        """
        return PatchDeprecated(_checked(name))


def _checked(name: str) -> str:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(f"the name of a patch must be `str`, got {type(name).__name__}")
    if not (0 < len(name) <= _LONGEST_NAME and _CHARACTERS.issuperset(name)):
        raise ArgumentValueError(
            f"the name of a patch has 1 to 64 characters, which are letters, digits, hyphens and underscores of ASCII;"
            f" got {name!r:.100}"
        )
    return name
