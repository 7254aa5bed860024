"""The context that a Lambda handler gets where there is no Lambda: on the development server and the offline stack."""

from __future__ import annotations

from dataclasses import dataclass, field

from resonate_store.model.clock import Clock


@dataclass
class LambdaContext:
    """The second argument of a Lambda handler. The names of the attributes are Lambda's.

    Attributes:
        deadline: when the invocation has used up its time (ms).
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
        """Return the time that is left until the deadline (ms)."""
        return max(0, self.deadline - self.clock.now())
