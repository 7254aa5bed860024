"""Context of a Lambda handler outside of Lambda: on the development server and on the offline stack."""

from __future__ import annotations

from dataclasses import dataclass, field

from resonate_store.model.clock import Clock


@dataclass
class LambdaContext:
    """Second argument of a Lambda handler. Its attributes have Lambda's names, except these:

    Attributes:
        deadline: the instant (ms) at which the invocation times out.
        clock: the source of time.
    """

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int | str
    aws_request_id: str
    deadline: int
    clock: Clock = field(repr=False)
    function_version: str = "$LATEST"
    log_group_name: str = "offline"
    log_stream_name: str = "offline"
    identity: None = None
    client_context: None = None

    def get_remaining_time_in_millis(self) -> int:
        """Return the time until the deadline, in ms."""
        return max(0, self.deadline - self.clock.now())
