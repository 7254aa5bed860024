"""Saga: book a flight, a hotel and a car. If one of them is not available, cancel the bookings, the last one first.

The example needs no compensation framework. The bookings are durable steps, so `try` and `except` survive a crash like
the rest of the workflow. A process that replays the workflow takes the same branch, and continues where the former
process stopped. The sleeps simulate slow services. With sleeps of an hour, the saga takes many Lambda invocations.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class NoCarLeft(Exception):
    """No car is available; a retry does not help."""


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
        # Any other error is retried, the default for a step.
        booked.append((yield ctx.run(book_car, trip, car_available).options(non_retryable_exceptions=(NoCarLeft,))))
    except Exception:
        for reservation in reversed(booked):
            yield ctx.run(cancel, reservation)
            yield ctx.sleep(secs_between)
            cancelled.append(reservation)
        return {"status": "cancelled", "booked": booked, "cancelled": cancelled}
    return {"status": "booked", "booked": booked, "cancelled": cancelled}


# A step that is interrupted before it is recorded runs again. So each request to a service names the trip, and the
# service can recognise a booking that exists already.


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
