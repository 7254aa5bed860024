"""Tasks that this process holds: their leases, and the heartbeats that extend them."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from resonate.worker.lease import Lease
from resonate.worker.worker import MOST_REMEMBERED
from resonate_store.interface import Store, StoreError
from resonate_store.local.turns import Turns
from resonate_store.model.clock import Clock
from resonate_store.model.ids import origin
from resonate_store.model.requests import TaskHeartbeat, TaskReference

logger = logging.getLogger("resonate.runtime")


class HeldTasks:
    """The leases of tasks, by the task's id, and the calls that this process has begun.

    Args:
        clock: the source of time.
        pid: the process that holds the tasks.
        ttl_ms: the length of a lease.
        keeps_begun: whether to remember calls that are begun here. With a store in this process, they are continued
            here.
        began: called when a first task is held, whose lease must be extended.
    """

    def __init__(self, clock: Clock, pid: str, ttl_ms: int, *, keeps_begun: bool, began: Callable[[], None]) -> None:
        self._clock = clock
        self._pid = pid
        self._ttl_ms = ttl_ms
        self._keeps_begun = keeps_begun
        self._began = began
        self._lock = threading.RLock()  # reentrant: a signal handler may call `stop` while it is held
        self._turns = Turns()
        self._leases: dict[str, Lease] = {}
        self._begun: OrderedDict[str, None] = OrderedDict()
        """Limited to `MOST_REMEMBERED`; the oldest are removed."""

    def __len__(self) -> int:
        return len(self._leases)

    def has_begun(self, id: str) -> bool:
        """Return whether this process has begun the call `id` and continues it."""
        return id in self._begun

    def accept(self, lease: Lease) -> bool:
        """Hold the lease of an offered task. Return False if this offer, or a later one, was accepted before."""
        with self._turns, self._lock:
            known = self._leases.get(lease.id)
            if known is not None and known.version >= lease.version:
                return False
            self.hold(lease)
        return True

    def hold(self, lease: Lease, *, begun: bool = False) -> None:
        """Extend a task's lease from now on.

        If this process holds the task at an older version, that attempt ends as lost before its next step.

        Args:
            lease: the lease.
            begun: whether this process has begun the call. With a store in this process, the messages about the call
                then arrive here, whatever its target.
        """
        with self._turns, self._lock:
            known = self._leases.get(lease.id)
            if known is not None and known.version > lease.version:
                lease.end()
                return
            if known is not None and known.version < lease.version:
                known.end()
            self._leases[lease.id] = lease
            if begun and self._keeps_begun:
                self._begun[lease.id] = None
                if len(self._begun) > MOST_REMEMBERED:
                    self._begun.popitem(last=False)
            first = len(self._leases) == 1
        if first:
            self._began()

    def let_go(self, lease: Lease, *, over: bool = False) -> None:
        """Do not extend a lease any more.

        Args:
            lease: the lease.
            over: whether the call is not continued here, because it has ended or another process has it.
        """
        with self._turns, self._lock:
            if self._leases.get(lease.id) is lease:
                del self._leases[lease.id]
            if over and not lease.ended:
                self._begun.pop(lease.id, None)

    def extend(self, store: Store) -> bool:
        """Extend the leases of all held tasks, and return whether all requests succeeded.

        Each execution has a request of its own, because some servers refuse tasks of several executions in one request.
        """
        complete = True
        now = self._clock.now()
        with self._turns, self._lock:
            # A lease that has ended here is not extended: another worker may hold the task now.
            held = [lease for lease in self._leases.values() if now < lease.ends_at]
        held.sort(key=lambda lease: origin(lease.id))
        for _, group in itertools.groupby(held, key=lambda lease: origin(lease.id)):
            leases = list(group)
            references = tuple(TaskReference(lease.id, lease.version) for lease in leases)
            asked_at = self._clock.now()
            try:
                response = store.apply(TaskHeartbeat(self._pid, references))
                problem = response.error or f"{response.status}" if not response.ok else None
            except StoreError as error:
                problem = str(error)
            if problem is None:
                for lease in leases:
                    lease.extend(asked_at, self._ttl_ms)
            else:
                complete = False
                logger.warning("the leases of %d tasks could not be extended: %s", len(references), problem)
        return complete
