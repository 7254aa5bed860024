"""Methods of a registered object that change it."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Sender:
    def __init__(self) -> None:
        self.left = 100
        self.last = ""

    def tell_all(self, ctx: Context, texts: list[str]):
        for text in texts:
            yield ctx.run(self.tell, text)
            self.left -= 1  # RS008
        self.last, self.left = texts[-1], 0  # RS008

    def tell(self, ctx: Context, text: str) -> None:
        self.last = text


class Counter:
    total = 0


counter = Counter()


@resonate.register
def count(ctx: Context, text: str):
    Counter.total += 1  # RS008
    yield ctx.run(show, text)
    counter.total = len(text)  # RS008
    counter.total = Counter.total


def show(ctx: Context, text: str) -> None:
    Counter.total += 1


sender = Sender()
resonate.register(sender.tell_all, name="tell-all")
