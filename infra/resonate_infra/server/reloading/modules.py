"""Modules of a program, which are imported anew when their sources have changed."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

OWN = ("__main__", "resonate", "resonate_infra", "resonate_store")
"""Packages that stay: the server consists of them."""
_INSTALLED = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_FOLDERS = ("site-packages", "dist-packages")


def roots_of(modules: Iterable[str]) -> tuple[Path, ...]:
    """Return the directories with the sources of modules: the current directory, and those that are not below it.

    A directory of installed packages is left out, because users do not edit it.

    Args:
        modules: the dotted names of the modules. They are found, not imported.
    """
    roots = [Path.cwd()]
    for module in modules:
        try:
            spec = find_spec(module.partition(".")[0])
        except (ImportError, ValueError):  # `__main__` can have no spec
            continue
        if spec is None:
            continue
        packages = list(spec.submodule_search_locations or ())
        for place in packages or [str(Path(spec.origin or "").parent)]:
            root = Path(place).resolve()
            if not is_installed(root) and not any(root.is_relative_to(each) for each in roots):
                roots.append(root)
    return tuple(roots)


@contextmanager
def anew(roots: Sequence[Path]) -> Generator[None]:
    """Forget the modules below directories, so that the block imports them anew. If it fails, they are put back."""
    former = {name: module for name, module in sys.modules.items() if _is_source(name, module, roots)}
    for name in former:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        for name in [name for name, module in sys.modules.items() if _is_source(name, module, roots)]:
            del sys.modules[name]
        sys.modules.update(former)
        raise


def _is_source(name: str, module: ModuleType | None, roots: Sequence[Path]) -> bool:
    """Return whether a module is Python source below one of the directories, or a package without `__init__.py`."""
    if name.partition(".")[0] in OWN:
        return False
    file: str | None = getattr(module, "__file__", None)
    if file is not None and not file.endswith(".py"):
        return False  # Python cannot load an extension module twice.
    places = [file] if file else list(getattr(module, "__path__", ()))
    paths = [Path(place).resolve() for place in places]
    return any(not is_installed(path) and any(path.is_relative_to(root) for root in roots) for path in paths)


def is_installed(path: Path) -> bool:
    """Return whether a file or directory belongs to installed packages or to Python."""
    return any(folder in path.parts for folder in _FOLDERS) or any(path.is_relative_to(each) for each in _INSTALLED)
