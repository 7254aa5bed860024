"""The commonest mistakes of programs, each as a small program of the public interface.

`MISTAKES` is the table: the program, the code of the error, and the words that must be in what its user reads. The
line of the mistake ends with `# here`; its file and number must be in it too. The code `warning` stands for a log
line or a warning of a program that does not fail.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from resonate import Resonate
from resonate.retry_policies import Never
from resonate.testing import MemoryStack

WARNING = "warning"


class Mistake(NamedTuple):
    """One row: the program, its code, and the words of what is read."""

    program: Callable[[], object]
    code: str
    words: tuple[str, ...]


MISTAKES: list[Mistake] = []


def says(code: str, *words: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Add a program to the table."""

    def add(program: Callable[[], object]) -> Callable[[], object]:
        MISTAKES.append(Mistake(program, code, words))
        return program

    return add


def run(func: Any, *args: Any) -> Any:
    return MemoryStack().run(func, *args)


def client(*functions: Any, **settings: Any) -> Any:
    """Return a client in memory with registered functions."""
    resonate = Resonate.local(**settings)
    for func in functions:
        resonate.register(func)
    return resonate


def step(_: Any, number: int = 1) -> int:
    return number


def pair(_: Any, first: int, second: int) -> int:
    return first + second


# A workflow that does not yield what it makes


@says(WARNING, "Function flow made 1 more command than it yielded", "write `yield ctx.run(...)`", "resonate lint")
def forgotten_yield() -> None:
    def flow(ctx: Any) -> Any:  # here
        ctx.run(step)
        yield ctx.run(step)

    run(flow)


@says("ProgramError", "<LFC: run step> is not its own result", "write `yield` (or `await`) in front of it")
def forgotten_yield_in_an_expression() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step)
        return ctx.run(step) + 1  # here

    run(flow)


@says("ProgramError", "<LFC: run step> is not its own result", "write `yield`")
def forgotten_yield_in_a_text() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.sleep(1)
        return f"got {ctx.run(step)}"  # here

    run(flow)


@says("ProgramError", "<LFC: run step> is not its own result", "write `yield`")
def forgotten_yield_in_a_condition() -> None:
    def flow(ctx: Any) -> Any:
        if ctx.run(step):  # here
            yield ctx.sleep(1)

    run(flow)


@says("AttributeError", "'LFC' object has no attribute 'total'", "is not its own result: write `yield`")
def forgotten_yield_before_an_attribute() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.sleep(ctx.run(step).total)  # here

    run(flow)


@says("ProgramError", "<LFC: run step> is not its own result", "write `yield`")
def forgotten_yield_of_an_argument() -> None:
    def flow(ctx: Any) -> Any:
        number = ctx.run(step)
        yield ctx.run(step, number)  # here

    run(flow)


@says(
    "PayloadError", "the result of flow cannot travel", "write `yield` (or `await`) in front of it", "flow is defined"
)
def promise_that_is_returned() -> None:
    def flow(ctx: Any) -> Any:  # here
        return (yield ctx.begin_run(step))

    run(flow)


@says("ProgramError", "a workflow yields commands", "not int: 5", "a step returns its values, for example as a list")
def yield_of_a_value() -> None:
    def flow(_: Any) -> Any:
        yield 5  # here

    run(flow)


@says("ProgramError", "a workflow yields commands", "not list", "several are awaited by `yield ctx.all(...)`")
def yield_of_a_list() -> None:
    def flow(ctx: Any) -> Any:
        yield [ctx.run(step), ctx.run(step)]  # here

    run(flow)


@says("ProgramError", "not generator", "give the function and its arguments, `yield ctx.run(inner, ...)`")
def yield_of_a_generator() -> None:
    def inner(ctx: Any) -> Any:
        yield ctx.sleep(1)

    def flow(ctx: Any) -> Any:
        yield inner(ctx)  # here

    run(flow)


# Functions


@says("NotAFunctionError", "got generator", "give the function and its arguments, (inner, 4) and not (inner(ctx, 4))")
def function_that_is_called() -> None:
    def inner(ctx: Any) -> Any:
        yield ctx.sleep(1)

    def flow(ctx: Any) -> Any:
        yield ctx.run(inner(ctx))  # here

    run(flow)


@says("NotAFunctionError", "got the class Step", "give a function, a bound method or an object with a __call__")
def class_as_a_step() -> None:
    class Step:
        pass

    def flow(ctx: Any) -> Any:
        yield ctx.run(Step)  # here

    run(flow)


@says("SignatureError", "its argument 'ctx' is missing", "give the method of an object, Shop(...).sell")
def method_of_a_class() -> None:
    class Shop:
        def sell(self, ctx: Any) -> None: ...

    def flow(ctx: Any) -> Any:
        yield ctx.run(Shop.sell)  # here

    run(flow)


@says("SignatureError", "no parameter for the context", "def bare(ctx, ...)")
def step_without_a_context() -> None:
    def bare() -> None: ...

    def flow(ctx: Any) -> Any:
        yield ctx.run(bare)  # here

    run(flow)


@says("MissingContextError", "bare needs a first parameter that takes the context, such as `ctx: Context`")
def registered_function_without_a_context() -> None:
    def bare() -> None: ...

    client().register(bare)  # here


@says("NotRegisteredError", "function step not found", "it has pair", "register it, @resonate.register")
def function_that_is_not_registered() -> None:
    client(pair).run("w", step)  # here


@says("NotRegisteredError", "function stepp not found", "did you mean 'step'?")
def misspelt_function() -> None:
    client(step).run("w", "stepp")  # here


@says("NotRegisteredError", "function <lambda> not found", "at the top of a module, so that each worker has it")
def lambda_that_is_called_remotely() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.rpc(lambda _: 1)  # here

    run(flow)


@says("AlreadyRegisteredError", "function step already registered", "mistakes.py:")
def function_registered_twice() -> None:
    client(step).register(step, name="step")  # here


@says("ArgumentValueError", "name must not be empty", "leave it out for the function's own")
def empty_name() -> None:
    client().register(step, name="")  # here


@says("NotAFunctionError", "name required when registering a lambda function", 'register(..., name="double")')
def lambda_without_a_name() -> None:
    client().register(lambda _: 1)  # here


@says("NotAFunctionError", "flow is an async generator", "awaits its commands and yields nothing")
def async_function_that_yields() -> None:
    async def flow(ctx: Any) -> Any:
        yield ctx.run(step)

    client().register(flow)  # here


# Async functions


@says("MixedAwaits", "flow awaits <LFC: run step> and uses asyncio", "await ctx.begin_run(...) for each")
def gather_over_commands() -> None:
    async def flow(ctx: Any) -> Any:
        return await asyncio.gather(ctx.run(step), ctx.run(step))  # here

    run(flow)


@says("MixedAwaits", "uses asyncio", "put what needs an event loop into an async function of its own")
def asyncio_sleep_in_a_workflow() -> None:
    async def flow(ctx: Any) -> Any:
        await ctx.run(step)
        await asyncio.sleep(1)  # here

    run(flow)


@says("ProgramError", "flow returned the coroutine later", "`await` it", "flow is defined at")
def coroutine_that_is_not_awaited() -> None:
    async def later(ctx: Any) -> None: ...

    def flow(ctx: Any) -> Any:  # here
        yield ctx.run(step)
        return later(ctx)

    run(flow)


@says("ProgramError", "awaits Handle(id='other')", "call the function by `await ctx.rpc(...)`")
def handle_that_is_awaited_in_a_workflow() -> None:
    resonate = client(step)

    async def flow(ctx: Any) -> Any:
        await ctx.run(step)
        await resonate.begin_run("other", step)  # here

    run(flow)


@says(WARNING, "workflow flow starts other by a client", "its replay repeats this", "write `yield ctx.run(...)`")
def client_in_a_workflow() -> None:
    resonate = client(step)

    def flow(ctx: Any) -> Any:
        yield ctx.run(step)
        return resonate.run("other", step)  # here

    run(flow)


# Arguments, results and units


@says(
    "PayloadError", "the arguments of greet cannot travel: args[0]['a'][0] is an object", "pass plain data, a dataclass"
)
def argument_without_a_json_form() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.rpc("greet", {"a": [object()]})  # here

    run(flow)


@says(
    "PayloadError", "the result of bad cannot travel: result['a'] is an object", "pass plain data", "bad is defined at"
)
def result_without_a_json_form() -> None:
    def bad(_: Any) -> Any:  # here
        return {"a": object()}

    def flow(ctx: Any) -> Any:
        yield ctx.run(bad)

    run(flow)


@says("PayloadTooLargeError", "has 8000004 bytes", "keep large data elsewhere and pass a reference to it")
def result_that_is_too_large() -> None:
    def large(_: Any) -> str:
        return "x" * 6_000_000

    def flow(ctx: Any) -> Any:
        yield ctx.run(large)  # here

    run(flow)


@says("SignatureError", "pair cannot be called like this: its argument 'second' is missing")
def missing_argument() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(pair, 1)  # here

    run(flow)


@says("SignatureError", "takes 1 positional argument after its context, and 2 were given", "leave the context out")
def context_as_an_argument() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step, ctx, 4)  # here

    run(flow)


@says("SignatureError", "no parameter 'timeout'", "an option is set by .options(timeout=...)")
def option_as_an_argument() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step, timeout=3)  # here

    run(flow)


@says("SignatureError", "step: number: expected int, got str")
def argument_of_the_wrong_type() -> None:
    client(step).run("w", step, "five")  # here


@says(WARNING, "secs is in seconds, and 31,536,000,000 are 999.3 years", "give 31,536,000", "timedelta(")
def milliseconds_for_seconds() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.begin_sleep(31_536_000_000)  # here

    MemoryStack().start(flow)


@says("ArgumentValueError", "secs must be a finite number of seconds, zero or more, got -1")
def negative_duration() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.sleep(-1)  # here

    run(flow)


@says("ArgumentValueError", "timeout must be finite and greater than or equal to zero, got nan")
def timeout_that_is_not_a_number() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step).options(timeout=math.nan)  # here

    run(flow)


@says("ArgumentTypeError", "secs must be `float`, got str", "give seconds, or a timedelta")
def duration_as_a_text() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.sleep("5")  # here

    run(flow)


@says("UnknownOptionError", "unknown option 'timout' of run step", "its options are", "timeout")
def misspelt_option() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step).options(timout=3)  # here

    run(flow)


@says("ArgumentTypeError", "retry_policy must be `RetryPolicy`, got int", "such as Constant(delay=2, max_retries=5)")
def retry_policy_that_is_a_number() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step).options(retry_policy=3)  # here

    run(flow)


@says("ArgumentTypeError", "retry_policy must be `RetryPolicy`, got the class Never", "write Never(...)")
def retry_policy_that_is_a_class() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.run(step).options(retry_policy=Never)  # here

    run(flow)


@says("ArgumentTypeError", "ctx.map takes an iterable of items, and not int: 5")
def map_over_a_number() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.map(step, 5)  # here

    run(flow)


@says("ArgumentValueError", "max_concurrency must be at least 1, got 0")
def map_without_concurrency() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.map(step, [1], max_concurrency=0)  # here

    run(flow)


@says("ArgumentValueError", "ctx.race needs at least one promise")
def race_of_nothing() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.race()  # here

    run(flow)


@says(WARNING, "no dependency 'databse' is set here", "there are database, did you mean 'database'?")
def misspelt_dependency() -> None:
    def flow(ctx: Any) -> Any:
        yield ctx.sleep(1)
        return ctx.get_dependency("databse")  # here

    MemoryStack(dependencies={"database": 1}).run(flow)
