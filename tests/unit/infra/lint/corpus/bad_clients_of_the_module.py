"""Clients that the module has made."""

import boto3
import httpx

from resonate import Context, Resonate

resonate = Resonate(group="worker")
bucket = boto3.client("s3")
table = boto3.resource("dynamodb").Table("orders")
http = httpx.AsyncClient()


@resonate.register
async def archive(ctx: Context, key: str) -> None:
    bucket.put_object(Bucket="archive", Key=key)  # RS004
    table.put_item(Item={"id": key})  # RS004
    await http.get("https://example.com")  # RS004
    await ctx.sleep(1)
