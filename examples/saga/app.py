"""A saga: book a flight, a hotel and a car; if one cannot be had, cancel what was booked, the last booking first.

There is no compensation framework. The bookings are durable steps, so `try` and `except` survive a crash like the rest
of the workflow: whichever process replays it takes the same branch and goes on where the other stopped. The sleeps
stand for services that take their time; set to an hour, they make it a saga of many Lambda invocations.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class NoCarLeft(Exception):
    """Asking again will not help."""


@resonate.register
def book_trip(
    ctx: Context, trip: str, car_available: bool = False, secs_between: float = 0.1
) -> Generator[Any, Any, dict[str, Any]]:
    booked: list[str] = []
    cancelled: list[str] = []
    try:
        booked.append((yield ctx.run(book_flight, trip)))
        yield ctx.sleep(secs_between)
        booked.append((yield ctx.run(book_hotel, trip)))
        yield ctx.sleep(secs_between)
        # Any other error is worth another attempt, which is what a step gets by default.
        booked.append((yield ctx.run(book_car, trip, car_available).options(non_retryable_exceptions=(NoCarLeft,))))
    except Exception:
        for reservation in reversed(booked):
            yield ctx.run(cancel, reservation)
            yield ctx.sleep(secs_between)
            cancelled.append(reservation)
        return {"status": "cancelled", "booked": booked, "cancelled": cancelled}
    return {"status": "booked", "booked": booked, "cancelled": cancelled}


# A step that was interrupted before it was recorded runs again, so the trip is part of what a service is asked for:
# it recognises a booking that it has made already.


def book_flight(_: Context, trip: str) -> str:
    print(f"booking a flight for {trip}")
    return f"flight-{trip}"


def book_hotel(_: Context, trip: str) -> str:
    print(f"booking a hotel for {trip}")
    return f"hotel-{trip}"


def book_car(_: Context, trip: str, available: bool) -> str:
    print(f"booking a car for {trip}")
    if not available:
        raise NoCarLeft(trip)
    return f"car-{trip}"


def cancel(_: Context, reservation: str) -> None:
    print(f"cancelling {reservation}")


handler = resonate.handler()

if __name__ == "__main__":
    trip = sys.argv[1] if len(sys.argv) > 1 else "lisbon"
    try:
        result = book_trip.run(f"trip-{trip}", trip)
        print(f"{result['status']}: {', '.join(result['cancelled'])}")
    finally:
        resonate.stop()
