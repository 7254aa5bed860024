"""Requests over HTTP."""

import subprocess
import urllib.request

import httpx
import requests

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def fetch(ctx: Context, url: str):
    page = requests.get(url, timeout=3)  # RS004
    other = httpx.post(url)  # RS004
    with urllib.request.urlopen(url) as third:  # RS004
        body = third.read()
    subprocess.run(["sync"], check=True)  # RS004
    yield ctx.run(keep, page.text, other.text, body)


def keep(ctx: Context, *what: object) -> None:
    print(*what)
