"""Functions that other libraries register."""

import atexit
import random
from functools import singledispatch


@atexit.register
def leave():
    print(random.random())


@singledispatch
def show(value):
    return value


@show.register
def _(value: int):
    yield random.random()


@show.register(str)
def _(value):
    yield random.random()
