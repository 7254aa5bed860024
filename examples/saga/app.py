"""Saga: book a flight, a hotel and a car with three services. If one of them fails, undo the bookings, the last first.

The bookings and their undos are durable steps. A process that replays the workflow continues where the former process
stopped, also in the middle of the compensation. The sleeps simulate slow services. With sleeps of an hour, the saga
takes many Lambda invocations.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate


class NoCarLeft(Exception):
    """No car is available; a retry does not help."""


resonate = Resonate(group="worker")


@resonate.register
def book_trip(
    ctx: Context, trip: str, car_available: bool = False, secs_between: float = 0.1
) -> Generator[Any, Any, list[str]]:
    """Book a trip. An error, or a cancellation, that leaves the workflow undoes what has been booked."""
    saga = ctx.saga()
    flight = yield saga.run(book_flight, trip, undo=(cancel_flight, trip))
    yield ctx.sleep(secs_between)
    hotel = yield saga.run(book_hotel, trip, undo=(cancel_hotel, trip))
    yield ctx.sleep(secs_between)
    # Any other error is retried, the default for a step.
    car = yield saga.run(book_car, trip, car_available, undo=(cancel_car, trip)).options(
        non_retryable_exceptions=(NoCarLeft,)
    )
    return [flight, hotel, car]


# A step that is interrupted before it is recorded runs again. So each request to a service names the trip, and the
# service can recognise a booking that exists already. An undo runs although its booking failed, because a service may
# fail after it has booked. So it must accept that there is nothing to cancel.


def book_flight(_: Context, trip: str) -> str:
    print(f"booking a flight for {trip}")
    return f"flight-{trip}"


def cancel_flight(_: Context, trip: str) -> None:
    print(f"cancelling the flight for {trip}")


def book_hotel(_: Context, trip: str) -> str:
    print(f"booking a hotel for {trip}")
    return f"hotel-{trip}"


def cancel_hotel(_: Context, trip: str) -> None:
    print(f"cancelling the hotel for {trip}")


def book_car(_: Context, trip: str, available: bool) -> str:
    print(f"booking a car for {trip}")
    if not available:
        raise NoCarLeft(f"no car is left for {trip}")
    return f"car-{trip}"


def cancel_car(_: Context, trip: str) -> None:
    print(f"cancelling the car for {trip}")


handler = resonate.handler()

if __name__ == "__main__":
    trip = sys.argv[1] if len(sys.argv) > 1 else "lisbon"
    try:
        print(*book_trip.run(f"trip-{trip}", trip))
    except NoCarLeft as error:
        print(error)
    finally:
        resonate.stop()
