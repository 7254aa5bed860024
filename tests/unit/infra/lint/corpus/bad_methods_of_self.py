"""Methods of the same object that a workflow calls: a replay runs them too."""

import time
import uuid

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Loans:
    def __init__(self, days: int) -> None:
        self.days = days
        self.begun = time.time()

    def lend(self, ctx: Context, book: str, due: float):
        key = self.key_of(book)
        if self.is_late(due):
            yield ctx.run(self.remind, book, key)
        self.remind_all(ctx, [book])  # RS101
        yield from self.remind_all(ctx, [book])

        def again(ctx: Context):
            yield ctx.run(self.remind, book, self.key_of(book))

        yield ctx.run(again)

    def is_late(self, due: float) -> bool:
        return time.time() > due  # RS001

    @staticmethod
    def key_of(book: str) -> str:
        return f"{book}-{uuid.uuid4()}"  # RS003

    def remind_all(self, ctx: Context, books: list[str]):
        for book in books:
            yield ctx.run(self.remind, book, "")
            time.sleep(1)  # RS005

    def remind(self, ctx: Context, book: str, key: str) -> float:
        return time.time() + self.stamp()

    def stamp(self) -> float:
        return time.time()


resonate.register(Loans(14).lend)
