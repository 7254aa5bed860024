"""Generators with a seed repeat their numbers."""

import random
import secrets

import numpy

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def draw(ctx: Context, given: str):
    dice = random.Random(ctx.id)
    other = numpy.random.default_rng(7)
    if secrets.compare_digest(given, "x"):
        yield ctx.sleep(dice.random() + other.random())
