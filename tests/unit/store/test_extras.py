import pytest

from resonate_store.extras import MissingExtra, extra

MESSAGE = r"(?m)^a table needs nothing_like_it: pip install 'resonate-serverless\[aws\]'$"


def test_missing_extra_is_named() -> None:
    with pytest.raises(MissingExtra, match=MESSAGE), extra("aws", "a table"):
        import nothing_like_it.at_all  # type: ignore[import-not-found]  # noqa: F401


def test_missing_extra_of_a_program_ends_it_with_the_message() -> None:
    with pytest.raises(SystemExit, match=MESSAGE), extra("aws", "a table", ends_program=True):
        import nothing_like_it  # type: ignore[import-not-found]  # noqa: F401
