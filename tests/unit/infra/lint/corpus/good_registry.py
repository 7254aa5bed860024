"""Containers that the module fills while it is imported."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")
HANDLERS = {}
NAMES = []


def handler(name):
    def add(func):
        HANDLERS[name] = func
        return func

    return add


def named(func):
    NAMES.append(func.__name__)
    return func


@handler("mail")
@named
def mail(ctx: Context, text: str) -> None:
    print(text)


@resonate.register
def dispatch(ctx: Context, name: str, text: str):
    for each in NAMES:
        print(each)
    yield ctx.run(HANDLERS[name], text)
