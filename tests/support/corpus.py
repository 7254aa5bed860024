"""The scripts of the conformance corpus, read once, and the statuses that they have to contain."""

from __future__ import annotations

from resonate_infra.conformance.reading import corpus, load

SCRIPTS = [script for path in corpus() for script in load(path)]
"""Every script of the corpus, file by file."""

STATUSES = {
    # docs/protocol.md 1.5. Data that cannot be read is 400 for every kind, whether or not it is named there.
    "promise.get": {200, 400, 404},
    "promise.create": {200, 400},
    "promise.settle": {200, 400, 404},
    "promise.cancel": {200, 400, 404},
    "promise.register_callback": {200, 400, 404, 422},
    "promise.register_listener": {200, 400, 404},
    "promise.search": {200, 400},
    "task.get": {200, 400, 404},
    "task.create": {200, 400, 409, 422},
    "task.acquire": {200, 400, 404, 409},
    "task.release": {200, 400, 404, 409},
    "task.fulfill": {200, 400, 404, 409},
    "task.suspend": {200, 300, 400, 404, 409, 422},
    "task.fence": {200, 400, 404, 409},
    "task.record": {200, 400, 404, 409},
    "task.heartbeat": {200, 400},
    "task.halt": {200, 400, 404, 409},
    "task.continue": {200, 400, 404, 409},
    "task.continue_as": {200, 400, 404, 409},
    "task.repin": {200, 400, 404, 409},
    "task.fork": {200, 400},
    "task.copy": {200, 400, 404, 409},
    "task.search": {200, 400},
    # docs/protocol.md 3.1
    "schedule.get": {200, 400, 404},
    "schedule.create": {200, 400},
    "schedule.delete": {200, 400, 404},
    "schedule.search": {200, 400},
    # Ours (docs/compatibility.md)
    "schedule.pause": {200, 400, 404},
    "schedule.resume": {200, 400, 404},
    "schedule.trigger": {200, 400, 404, 409},
    "schedule.update": {200, 400, 404, 409},
    "schedule.backfill": {200, 400, 404, 422},
    # docs/protocol.md 1.8
    "message.send": {200, 400, 404, 409, 410, 422, 429},
    "task.receive": {200, 400, 404, 409, 422},
    "task.publish": {200, 400, 404, 409, 422},
    "execution.search": {200, 400},
    "execution.get": {200, 400, 404},
    "execution.count": {200, 400},
    "execution.retry": {200, 400, 404},
    "debug.start": {200, 403},
    "debug.stop": {200, 403},
    "debug.reset": {200, 403},
    "debug.tick": {200, 400, 403},
    "debug.snap": {200, 403},
}
"""Statuses by kind.

Those of tokens (401, 403), of a store that fails (503), and of a deletion depend on how a server is set up.
"""
