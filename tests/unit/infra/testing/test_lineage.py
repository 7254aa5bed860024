"""Counts of invocations in the trace header."""

import json

from resonate_infra.testing.lineage import MAX_INVOCATIONS, continued, counts_of, is_too_long, longest, with_trace


def test_chain_counts_each_function() -> None:
    trace = ""
    for function in ("Worker", "Tick", "Worker"):
        trace = continued(trace, function)
    assert counts_of(trace) == {"Worker": 2, "Tick": 1}
    assert counts_of("Root=1-2-3;Sampled=1") == {}


def test_chain_is_too_long_after_sixteen_invocations_of_a_function() -> None:
    trace = continued("", "Tick")
    for n in range(MAX_INVOCATIONS):
        assert not is_too_long(trace, "Worker"), n
        trace = continued(trace, "Worker")
    assert is_too_long(trace, "Worker")
    assert not is_too_long(trace, "Tick")


def test_batch_of_messages_continues_the_longest_chain() -> None:
    short = continued("", "Tick")
    long = continued(short, "Worker")
    assert longest([short, long, ""]) == long
    assert longest([]) == ""


def test_message_has_the_trace_as_an_attribute() -> None:
    request = json.loads(with_trace(json.dumps({"QueueUrl": "q", "MessageBody": "m"}), "Root=1"))
    assert request["MessageBody"] == "m"
    assert request["MessageSystemAttributes"] == {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}
