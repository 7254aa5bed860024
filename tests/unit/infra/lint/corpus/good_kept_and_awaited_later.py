"""Commands and promises that are tested or shown before they are awaited."""

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def discount(ctx: Context, customer: str, urgent: bool):
    command = ctx.run(look, customer) if urgent else None
    if command:
        yield command
    begun = None
    if urgent:
        begun = yield ctx.begin_run(look, customer)
        print(f"begun {begun}")
    if begun is not None:
        print(begun.id)
    started = yield ctx.begin_run(look, customer)
    if started:
        yield started
    kept = yield ctx.begin_run(look, customer)

    def later():
        return (yield kept)

    print(f"kept {kept}")
    return (yield from later()), (yield begun)


def look(ctx: Context, customer: str) -> str:
    return customer
