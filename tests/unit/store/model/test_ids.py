"""Valid ids, and the origin, depth, parent and shard of an id (docs/rules.md V1 and D2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resonate_store.model.ids import MAX_ID_BYTES, depth, origin, parent, problem_with, random_id, shard


def test_origin_and_depth_of_an_id_follow_its_separators(subtests: pytest.Subtests) -> None:
    """`origin(id)` is the id up to its first separator, and `depth(id)` their number. A colon is one before a number
    or a hash, as the official SDKs write the first level below an execution."""
    for id, first, separators in [
        ("a", "a", 0),
        ("a.1", "a", 1),
        ("a.1.2", "a", 2),
        ("a/b.1", "a/b", 1),
        (".a", "", 1),
        ("a.", "a", 1),
        ("é🙂.1", "é🙂", 1),
        ("a:1", "a", 1),
        ("a:1.2", "a", 2),
        ("a:d0123456789abcdef", "a", 1),
        ("a:d0123456789abcdef.1", "a", 2),
        ("my.flow:1", "my", 2),
        ("order:x", "order:x", 0),
        ("order:x.1", "order:x", 1),
        ("order:1a", "order:1a", 0),
        ("a:d0123", "a:d0123", 0),
        (":1", "", 1),
    ]:
        with subtests.test(id=id, first=first, separators=separators):
            assert (origin(id), depth(id)) == (first, separators)


def test_parent_is_the_id_without_its_last_segment(subtests: pytest.Subtests) -> None:
    for id, above in [
        ("a", ""),
        ("a.1", "a"),
        ("a.1.2", "a.1"),
        ("a:1", "a"),
        ("a:1.2", "a:1"),
        ("my.flow:1", "my.flow"),
        ("my.flow:1.2", "my.flow:1"),
        ("a.1:x", "a"),
        ("order:x", ""),
    ]:
        with subtests.test(id=id, above=above):
            assert parent(id) == above
            assert above == "" or depth(id) == depth(above) + 1


@given(st.text(alphabet="a1:.d0", min_size=1), st.sampled_from([".", ":"]), st.integers(0, 99))
def test_child_is_one_level_below_in_the_same_partition(id: str, separator: str, number: int) -> None:
    child = f"{id}{separator}{number}"
    if separator == ":" and (depth(f"{id}:x") != depth(id) or ":" in id):
        return
    assert (origin(child), depth(child), parent(child)) == (origin(id), depth(id) + 1, id)


def test_problem_with_a_valid_id_is_none(subtests: pytest.Subtests) -> None:
    """1 to 1,000 bytes of UTF-8 without NUL, any other character allowed."""
    for id in ["a", "a b", "a#1", "a/b", "🙂", "x" * 1000, "é" * 500, ".", "..", "\n", "a:b", "\x7f"]:
        with subtests.test(id=id):
            assert problem_with(id) is None


def test_problem_with_an_invalid_id_names_it(subtests: pytest.Subtests) -> None:
    for id, named in [
        ("", ("empty", "1 to 1000 bytes")),
        ("\0", ("NUL",)),
        ("a\0b", ("NUL", r"'a\x00b'")),
        ("x" * 1001, ("1001 bytes", "1000", "options(id=...)")),
        ("é" * 501, ("1002 bytes", "1000")),
        ("🙂" * 251, ("1004 bytes",)),
        ("a\ud800", ("not valid Unicode",)),
    ]:
        with subtests.test(id=id, named=named):
            problem = problem_with(id, "awaited id")
            assert problem is not None
            assert problem.startswith("the awaited id ")
            assert [part for part in named if part not in problem] == []
            assert len(problem) < 300


@given(st.text())
def test_id_of_1_to_1000_bytes_without_nul_is_valid(id: str) -> None:
    encoded = id.encode(errors="surrogatepass")
    legal = 1 <= len(encoded) <= MAX_ID_BYTES and b"\0" not in encoded
    assert (problem_with(id) is None) == legal


@given(st.text(min_size=1), st.text(), st.integers(1, 64))
def test_shard_of_a_tree_is_one(root: str, rest: str, shards: int) -> None:
    assert 0 <= shard(root, shards) < shards
    assert shard(f"{origin(root)}.{rest}", shards) == shard(origin(root), shards)


def test_shard_of_an_id_is_stable() -> None:
    """Stored items depend on the numbers, so they may never change."""
    assert [shard(id, 8) for id in ("a", "order-1", "🙂", ".4")] == [3, 7, 1, 0]
    assert {shard(f"order-{n}", 8) for n in range(200)} == set(range(8))


def test_random_ids_differ() -> None:
    ids = {random_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id) == 32 and set(id) <= set("0123456789abcdef") for id in ids)
