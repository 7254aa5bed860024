"""Contexts of other libraries."""

import asyncio
import random

import click
from discord.ext import commands
from invoke import task

bot = commands.Bot("!")


@click.command()
@click.pass_context
def cli(ctx: click.Context, name: str) -> None:
    print(random.random(), ctx.obj, name)


@task
def build(ctx, name):
    ctx.run(f"make {name}")


@bot.command()
async def ping(ctx: commands.Context) -> None:
    await asyncio.sleep(1)
    await ctx.send(str(random.random()))


@bot.command()
async def pong(ctx) -> None:
    await asyncio.sleep(1)
    await ctx.send("pong")
    await ctx.run("make")
