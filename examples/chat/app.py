"""Chat with a running workflow, which receives messages and publishes its progress.

No process runs while it waits for the next message, which may take a day.
"""

import sys
from collections.abc import Generator
from typing import Any

from resonate import Context, Resonate

resonate = Resonate(group="worker")


@resonate.register
def support(ctx: Context) -> Generator[Any, Any, list[str]]:
    """Answer questions until the visitor says "bye", or says nothing for a day."""
    answers: list[str] = []
    while True:
        yield ctx.publish("answered", len(answers))
        try:
            question = yield ctx.receive("question", timeout=24 * 3600)
        except TimeoutError:
            return answers
        if question == "bye":
            return answers
        answers.append((yield ctx.run(answer, question)))


def answer(_: Context, question: str) -> str:
    print(f"answering: {question}")
    return f"{question} Of course."


@resonate.register
def visit(ctx: Context, questions: list[str], delay: float) -> Generator[Any, Any, list[str]]:
    """Ask another workflow, with pauses. Each question is sent once, also if this workflow is replayed."""
    chat = yield ctx.begin_rpc(support)
    for question in questions:
        yield ctx.send(chat.id, "question", question)
        yield ctx.sleep(delay)
    yield ctx.send(chat.id, "question", "bye")
    answers: list[str] = yield chat
    return answers


handler = resonate.handler()

if __name__ == "__main__":
    try:
        chat = support.begin_run("chat-1")
        for question in [*sys.argv[1:], "bye"]:
            resonate.send("chat-1", "question", question)
        print(*chat.result(), sep="\n")
        print("answered:", chat.published("answered"))
    finally:
        resonate.stop()
