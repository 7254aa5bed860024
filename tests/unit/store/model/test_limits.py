from resonate_store.model.limits import excess, size_of
from resonate_store.model.records import Claim, Value


def test_size_of_a_value_counts_its_bytes() -> None:
    assert size_of(Value({"h": "é"}, "\ud800a")) == 1 + 2 + 3 + 1
    assert size_of(Claim(key="k", size=10)) == 0


def test_excess_names_the_value_above_the_limit() -> None:
    assert excess("p", "param", Value(data="xxxx"), 4) is None
    assert (excess("p", "param", Value(data="xxxxx"), 4) or "").startswith(
        "the param of promise 'p' has 5 bytes, encoded, and 4 is the limit (RESONATE_PAYLOAD_LIMIT)"
    )
