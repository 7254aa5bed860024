"""Handlers that let a suspended workflow end."""

from contextlib import suppress

from resonate import Canceled, Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def order(ctx: Context, item: str):
    try:
        yield ctx.run(look, item)
    except Exception as error:
        print(error)
    try:
        yield ctx.sleep(60)
    except Canceled:
        yield ctx.run(look, "stop")
        raise
    except BaseException:
        print("the end")
        raise
    try:
        yield ctx.sleep(60)
    except GeneratorExit:
        raise
    except BaseException as error:
        print(error)
    try:
        int(item)
    except:
        print("not a number")
    with suppress(TimeoutError):
        yield ctx.receive("note", timeout=3)
    with suppress(BaseException):
        print(item)


def look(ctx: Context, item: str) -> str:
    return item
