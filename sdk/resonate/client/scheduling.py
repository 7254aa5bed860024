"""Schedules of registered functions: the part of `Resonate` that defines and changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast, overload

from resonate.client.caller import Caller
from resonate.client.checks import check_call
from resonate.validation import within_time
from resonate.workflow.context import Context
from resonate.workflow.options import DEFAULT_TIMEOUT
from resonate_store.model.records import CatchUp, Overlap
from resonate_store.model.schedule_requests import ScheduleCreate, ScheduleUpdate
from resonate_store.model.tags import BRANCH, ORIGIN, PARENT, PREFIX
from resonate_store.server_clock import time_of

if TYPE_CHECKING:
    from resonate.schedules import DurableSchedule, Schedules

P = ParamSpec("P")


class Scheduling(Caller):
    """Schedules that call registered functions."""

    @property
    def schedules(self) -> Schedules:
        """Schedules of the store: create, get, delete, pause, resume, trigger. See `resonate.schedules.Schedules`."""
        from resonate.schedules import Schedules  # here, because every cold start would pay for it

        return Schedules(self._store, time_of(self._store, self._clock))

    @overload
    def schedule(self, id: str, func: str, cron: str, *args: Any, **kwargs: Any) -> DurableSchedule: ...
    @overload
    def schedule(
        self, id: str, func: Callable[Concatenate[Context, P], Any], cron: str, *args: P.args, **kwargs: P.kwargs
    ) -> DurableSchedule: ...
    def schedule(
        self, id: str, func: Callable[..., Any] | str, cron: str, *args: Any, **kwargs: Any
    ) -> DurableSchedule:
        """Call a function on a worker whenever `cron` occurs. No process needs to run in between.

            resonate.options(timezone="Europe/Berlin").schedule("daily", report, "0 7 * * *", user_id)

        Each occurrence is an execution of its own, with the id `{id}.{instant in milliseconds}`. Its timeout counts
        from that instant. The same schedule can be defined again, for example at each start of a worker. Target,
        timeout, tags, `timezone`, `catch_up` and `overlap` are set by `options`.

        Args:
            id: the id of the schedule.
            func: a registered function, or a name.
            cron: five fields in Unix numbering, or `@hourly` and the like; see `resonate_store.model.cron`.
            args, kwargs: the arguments of each call.

        Returns:
            The schedule.

        Raises:
            ResonateStoreError: a schedule with this id has another definition (code 100.40901), or `cron` is invalid.
            SignatureError: the arguments do not fit the function `func`.
        """
        return self.schedules.define(ScheduleCreate(*self._definition(id, func, cron, args, kwargs)))

    @overload
    def update_schedule(self, id: str, func: str, cron: str, *args: Any, **kwargs: Any) -> DurableSchedule: ...
    @overload
    def update_schedule(
        self, id: str, func: Callable[Concatenate[Context, P], Any], cron: str, *args: P.args, **kwargs: P.kwargs
    ) -> DurableSchedule: ...
    def update_schedule(
        self, id: str, func: Callable[..., Any] | str, cron: str, *args: Any, **kwargs: Any
    ) -> DurableSchedule:
        """Replace the definition of a schedule by another call, and return the schedule.

            resonate.options(timezone="Europe/Berlin").update_schedule("daily", report, "0 8 * * *", user_id)

        Occurrences that are due are created by the definition before. Executions that exist stay as they are.
        `resonate.schedules.update` changes parts of a definition.

        Args:
            id, func, cron, args, kwargs: as for `schedule`.

        Raises:
            ResonateStoreError: the schedule does not exist (code 100.40401), `cron` is invalid, or the server does not
                have this request.
            SignatureError: the arguments do not fit the function `func`.
        """
        return self.schedules.redefine(ScheduleUpdate(*self._definition(id, func, cron, args, kwargs)))

    def _definition(
        self, id: str, func: Callable[..., Any] | str, cron: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Return the fields of a definition, in their order."""
        check_call(id, func)
        name, version = self._named(func, args, kwargs)
        self._runtime.start()
        each = self._creation(id, name, version, args, kwargs, self._target_of(name, version))
        options = self._options
        return (
            id,
            cron,
            "{{.id}}.{{.timestamp}}",
            within_time(round((DEFAULT_TIMEOUT if options.timeout is None else options.timeout) * 1000)),
            each.param,
            {name: text for name, text in each.tags.items() if name not in (ORIGIN, BRANCH, PARENT, PREFIX)},
            options.timezone,
            cast("CatchUp", options.catch_up or "all"),
            cast("Overlap", options.overlap or "allow"),
        )
