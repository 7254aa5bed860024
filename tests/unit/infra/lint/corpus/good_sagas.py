"""Sagas, whose actions are yielded, and whose undos are commands or functions."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def travel(ctx: Context, name: str):
    saga = ctx.saga()
    yield saga.run(hold, name, undo=(cancel, name))
    yield saga.rpc("travel", name, undo=ctx.rpc("travel", name))
    if name == "none":
        yield saga.compensate()


def hold(ctx: Context, name: str) -> None:
    print(name)


def cancel(ctx: Context, name: str) -> None:
    print(name)
