"""Checks of a Resonate server."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator

import msgspec

from resonate_infra.cli.doctor.account import of_skew
from resonate_infra.cli.doctor.findings import Remark, Subject, error, ok, warning
from resonate_infra.json_types import is_object
from resonate_store.interface import StoreError, StoreUnreachable
from resonate_store.model.execution_requests import ExecutionDelete
from resonate_store.model.ids import random_id
from resonate_store.model.requests import PromiseGet
from resonate_store.protocol.wire import OWN_KINDS
from resonate_store.remote.http import Calls
from resonate_store.remote.post import HttpPost
from resonate_store.remote.store import TIMEOUT_S

PROBE = "resonate-doctor"
"""The id of a promise that the doctor reads. It need not exist."""


def _calls(subject: Subject) -> Calls:
    """Return the client of the server, which notes the kinds and the time of its latest answer."""
    if subject.server is None:
        settings = subject.session.server
        subject.server = Calls(settings, subject.clock, random_id, lambda: 0.0, HttpPost(settings.url))
        subject.server.insistent = False
    return subject.server


def _prefix_of(token: str | None) -> str:
    """Return the prefix with which ids must begin that the token permits. The server verifies the token, not we."""
    try:
        claims = json.loads(urlsafe_b64decode((token or "").split(".")[1] + "=="))
    except (IndexError, ValueError):
        return ""
    return str(claims.get("prefix") or "") if is_object(claims) else ""


def server(subject: Subject) -> Iterator[Remark]:
    """Check that the server answers, speaks the protocol, and accepts the credentials."""
    settings, calls = subject.session.server, _calls(subject)
    token = "with the token" if settings.token else "without a token"
    try:
        answer = calls.call(PromiseGet.kind, {"id": _prefix_of(settings.token) + PROBE}, TIMEOUT_S)
    except StoreUnreachable as unreachable:
        yield error(str(unreachable), "start the server, or correct --url")
        return
    except StoreError as refused:
        yield error(str(refused), "correct --url or the credentials")
        return
    reason = "" if answer.status < 400 else msgspec.json.decode(answer.data)
    if answer.status in (401, 403):
        way = "give a valid token: --token, RESONATE_TOKEN"
        yield error(f"{settings.url} refuses requests {token}: {reason}", way)
    elif answer.status not in (200, 404):
        yield error(f"{settings.url} answers {answer.status}: {reason}", "read the log of the server")
    else:
        yield ok(f"{settings.url} answers requests {token}")


def kinds(subject: Subject) -> Iterator[Remark]:
    """Compare the kinds that the server advertises with ours. A deployed API does not delete executions."""
    known = _calls(subject).kinds
    missing = [kind for kind in OWN_KINDS if kind not in known]
    if not known:
        yield warning(
            "the server has only the official protocol, without messages and lists of executions",
            "use `resonate dev` or a deployment of this release for these",
        )
    elif missing and missing != [ExecutionDelete.kind]:
        yield warning(f"the server does not know {', '.join(missing)}", "update the server, or this package")
    else:
        yield ok(f"{len(known)} kinds beyond the official protocol")


def server_clock(subject: Subject) -> Iterator[Remark]:
    yield of_skew(_calls(subject).server_clock.now() - subject.clock.now(), "the server")
