import threading

from resonate_store.dynamo.large_values import S3_REQUESTS
from resonate_store.parallel import each


def test_each_makes_requests_at_the_same_time_in_order() -> None:
    together = threading.Barrier(S3_REQUESTS)

    def double(number: int) -> int:
        together.wait(5)
        return 2 * number

    assert each(double, range(S3_REQUESTS), S3_REQUESTS) == [2 * number for number in range(S3_REQUESTS)]
    here = threading.get_ident()
    assert each(lambda _: threading.get_ident(), [1, 2], 1) == [here, here]
