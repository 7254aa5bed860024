"""Approval by a person, with reminders that stop as soon as the answer is there.

No process runs between two mails, which may be days apart.
"""

from collections.abc import Generator
from threading import Event
from typing import Any

from resonate import Context, Resonate

MAILS = ["request", "reminder", "last reminder"]

resonate = Resonate(group="worker")


@resonate.register
def approval(ctx: Context, wish: str, delay: float) -> Generator[Any, Any, str]:
    """Ask for an approval, and return the answer. Each mail waits `delay` seconds for it."""
    answer = yield ctx.promise(data=wish)
    for sent, mail in enumerate(MAILS, start=1):
        yield ctx.run(send, f"{mail}: {wish}? Answer to {answer.id}")
        yield ctx.publish("mails", sent)
        try:
            given: str = yield ctx.wait(answer, timeout=delay)
            return given
        except TimeoutError:
            continue  # the promise is still pending, so the next mail asks for the same answer
    yield ctx.cancel(answer)  # an answer that comes later is refused
    return "not answered"


def send(_: Context, mail: str) -> None:
    print(mail)


handler = resonate.handler()

if __name__ == "__main__":
    try:
        asking = approval.begin_run("approval-1", "a new laptop", 0.5)
        while asking.published("mails") != 2:
            Event().wait(0.01)
        # The manager reads the reminder, and follows its link.
        resonate.promises.resolve("approval-1.1", value="approved")
        print(asking.result())
    finally:
        resonate.stop()
