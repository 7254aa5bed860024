"""Clients that the workflow makes."""

import sqlite3

import aiohttp
import boto3

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
async def sync(ctx: Context, id: str) -> None:
    queue = boto3.client("sqs")  # RS004
    queue.send_message(QueueUrl="q", MessageBody=id)  # RS004
    async with aiohttp.ClientSession() as session:  # RS004
        await session.get("https://example.com")  # RS004
    sqlite3.connect("orders.db").execute("select 1")  # RS004
    await ctx.run(done, id)


def done(ctx: Context, id: str) -> None:
    print(id)
