"""Methods, patterns and loggers as arguments, data of promises, and functions that nothing can register."""

import logging
import re

from resonate import Context, Resonate

resonate = Resonate(group="worker")


class Shop:
    def sell(self, ctx: Context, item: str):
        yield ctx.rpc("ship", item, self.tell)  # RS302
        yield ctx.rpc("ship", re.compile(item))  # RS302
        yield ctx.rpc("ship", logging.getLogger())  # RS302
        answer = yield ctx.promise(data=lambda: item)  # RS302
        yield ctx.rpc(lambda ctx: item)  # RS401
        yield ctx.run(self.look, self.tell, re.compile(item))
        return (yield answer)

    def tell(self, text: str) -> None:
        print(text)

    def look(self, ctx: Context, *what: object) -> None:
        print(what)


@resonate.register
def ship(ctx: Context, *what: object) -> None:
    print(what)


resonate.register(Shop().sell)
