from resonate_infra.lambda_context import LambdaContext
from resonate_store.model.clock import ManualClock


def test_remaining_time_runs_out_at_the_deadline() -> None:
    clock = ManualClock()
    context = LambdaContext("worker", "arn:worker", 128, "request", clock.now() + 1_000, clock)

    clock.advance(400)
    assert context.get_remaining_time_in_millis() == 600
    clock.advance(1_000)
    assert context.get_remaining_time_in_millis() == 0
