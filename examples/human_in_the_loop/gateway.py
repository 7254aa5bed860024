"""Gateway for humans: one request starts a workflow, and the link in the email resumes it."""

from typing import Any

from flask import Flask, request

from resonate import Resonate
from resonate.errors import ResonateStoreError

app = Flask(__name__)
resonate = Resonate.remote(group="gateway")


@app.post("/start-workflow")
def start_workflow() -> Any:
    body = request.get_json(silent=True)
    workflow_id = body.get("workflow_id") if isinstance(body, dict) else None
    if not workflow_id or not isinstance(workflow_id, str):
        return {"error": "the body has to be JSON with a workflow_id"}, 400
    try:
        handle = resonate.options(target="poll://any@worker").begin_rpc(workflow_id, "foo", workflow_id)
    except ValueError as error:  # the id is too long
        return {"error": str(error)}, 400
    return handle.result() if handle.done() else {"message": f"workflow {workflow_id} started"}


@app.get("/unblock-workflow")
def unblock_workflow() -> Any:
    promise_id = request.args.get("promise_id")
    if not promise_id:
        return {"error": "the address has to end in ?promise_id="}, 400
    # With the idempotency key, the link can be followed a second time without an error.
    resonate.promises.resolve(promise_id, ikey=promise_id)
    return {"message": "workflow unblocked"}


@app.errorhandler(ResonateStoreError)
def refused(error: ResonateStoreError) -> Any:
    return {"error": error.mesg}, error.status
