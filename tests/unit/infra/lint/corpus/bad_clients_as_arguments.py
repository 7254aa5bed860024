"""Clients that cannot travel."""

import boto3
import httpx

from resonate import Context, Resonate

resonate = Resonate(group="worker")
s3 = boto3.client("s3")


@resonate.register
async def archive(ctx: Context, key: str) -> None:
    await ctx.rpc("archive", s3, key)  # RS302
    await ctx.run(copy, s3, key)
    await ctx.detached("archive", httpx.Client())  # RS004 RS302


def copy(ctx: Context, client, key: str) -> None:
    client.copy_object(Bucket="archive", Key=key, CopySource=f"live/{key}")
