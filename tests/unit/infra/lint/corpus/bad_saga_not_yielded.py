"""Actions of a saga are commands too."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def travel(ctx: Context, name: str):
    saga = ctx.saga()
    saga.run(hold, name, undo=(cancel, name))  # RS101
    yield saga.run(hold, name, undo=(cancel, name))
    saga.compensate()  # RS101


def hold(ctx: Context, name: str) -> None:
    print(name)


def cancel(ctx: Context, name: str) -> None:
    print(name)
