"""Methods that a workflow does not call itself, and methods of objects that are not known."""

import time

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Clock:
    def now(self) -> float:
        return time.time()


class Loans:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def lend(self, ctx: Context, book: str):
        self.note(book)
        yield ctx.run(self.remind, book)
        return (yield ctx.run(lambda ctx: self.now()))

    def note(self, book: str) -> None:
        print(book)

    def remind(self, ctx: Context, book: str) -> float:
        return self.now()

    def now(self) -> float:
        return self.clock.now()


resonate.register(Loans(Clock()).lend)
