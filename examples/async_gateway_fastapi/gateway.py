"""Gateway that submits reports and answers with their status, without waiting for them.

The endpoints are plain functions, which FastAPI runs in threads. So requests to the store do not block its event loop.
"""

from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from resonate import Resonate
from resonate.errors import ResonateStoreError

app = FastAPI()
resonate = Resonate.remote(group="gateway")


class Report(BaseModel):
    id: str
    customer: str
    secs: float = 1.0


@app.post("/reports", status_code=202)
def submit(report: Report) -> dict[str, str]:
    if "/" in report.id:
        raise HTTPException(400, "the id is a part of the report's path, and has no slash")
    try:
        resonate.options(target="poll://any@worker").begin_rpc(report.id, "make_report", report.customer, report.secs)
    except ValueError as error:  # the id is empty, or too long
        raise HTTPException(400, str(error)) from None
    return {"id": report.id, "status": app.url_path_for("status", id=quote(report.id, safe=""))}


@app.get("/reports/{id}")
def status(id: str) -> dict[str, Any]:
    try:
        handle = resonate.get(id)
    except ResonateStoreError as error:
        raise HTTPException(error.status, error.mesg) from None
    if not handle.done():
        return {"status": "pending"}
    try:
        return {"status": "completed", "result": handle.result()}
    except Exception as error:  # any error of the workflow
        return {"status": "failed", "error": str(error)}
