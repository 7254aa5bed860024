"""Reloader: imports the handlers of a server anew after each change of a source."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from resonate_infra.server.lambdas import LambdaError, Lambdas
from resonate_infra.server.reloading.modules import is_installed
from resonate_store.extras import extra

READY_MS = 200
"""Milliseconds after which a watch without changes yields for the first time."""

Watch = Callable[[Sequence[Path], threading.Event], Iterable[set[str]]]
"""Watch of directories, until an event is set. It yields the changed files of each burst of saves.

Its first item says that it misses no change from then on. An item can be empty.
"""
logger = logging.getLogger("resonate.server")


class Reloader:
    """Thread that imports handlers anew. Invocations under way finish with the former code.

    Args:
        lambdas: the handlers.
        watch: the watch of their sources. Default: that of watchfiles.

    Raises:
        MissingExtra: watchfiles is not installed.
    """

    def __init__(self, lambdas: Lambdas, watch: Watch | None = None) -> None:
        self._lambdas = lambdas
        self._watch = watch or _watchfiles()
        self._stopping = threading.Event()
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resonate-reload", daemon=True)

    def start(self) -> None:
        """Watch the sources from now on. Return when no later change can be missed."""
        self._thread.start()
        self._watching.wait()

    def close(self, timeout_s: float) -> None:
        """End the watch."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def failed(self, error: LambdaError) -> None:
        """Log that handlers could not be imported, in one line, and what happens until the next save."""
        if self._lambdas.ready:
            logger.error("%s; the former code runs until the next save", error)
        else:
            logger.error("%s; its tasks wait for the next save", error)
        logger.debug("traceback of the import", exc_info=error)

    def _run(self) -> None:
        try:
            for changed in self._watch(self._lambdas.roots(), self._stopping):
                self._watching.set()
                if changed and not self._stopping.is_set():
                    self._reload(changed)
        except Exception as error:
            logger.error("sources are not watched any more: %s", error)
        finally:
            self._watching.set()

    def _reload(self, changed: set[str]) -> None:
        try:
            names = self._lambdas.reload()
        except LambdaError as error:
            self.failed(error)
        else:
            first, *others = sorted(Path(path).name for path in changed)
            rest = f" and {len(others)} more" if others else ""
            logger.info("reloaded %s after a change of %s%s", ", ".join(names), first, rest)


def _watchfiles() -> Watch:
    with extra("cli", "--reload"):
        from watchfiles import PythonFilter, watch

    def changes(roots: Sequence[Path], stopping: threading.Event) -> Iterator[set[str]]:
        found = watch(
            *roots,
            watch_filter=PythonFilter(),
            stop_event=stopping,
            rust_timeout=READY_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for changed in found:
            # An environment in the working directory changes when a package is installed.
            yield {path for _, path in changed if not is_installed(Path(path))}

    return changes
