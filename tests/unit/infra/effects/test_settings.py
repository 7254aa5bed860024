import pytest

from resonate_infra.effects.settings import Settings, SettingsError, origins_of
from tests.support.variables import ENVIRONMENT


def test_settings_are_read_from_the_environment() -> None:
    assert Settings.of({**ENVIRONMENT, "PATH": "/bin"}) == Settings(
        table="promises",
        groups={"worker": "lambda://worker", "remote": "https://worker.example.com/"},
        timer_queue_url="https://sqs/timers",
        push_queue_url="https://sqs/pushes",
        schedule_group="timers",
        schedule_role_arn="arn:aws:iam::1:role/scheduler",
        tick_arn="arn:aws:lambda:us-east-1:1:function:tick",
        retention_s=86_400,
    )


def test_missing_variables_are_named() -> None:
    for name in ENVIRONMENT:
        others = {key: value for key, value in ENVIRONMENT.items() if key != name}
        for environment in (others, {**others, name: ""}):
            with pytest.raises(SettingsError, match=rf"^the environment lacks {name}: "):
                Settings.of(environment)
    with pytest.raises(SettingsError) as raised:
        Settings.of({})
    assert all(name in str(raised.value) for name in ENVIRONMENT)


REFUSED = (
    *(
        ("RESONATE_RETENTION_SECONDS", seconds, "must be a number of seconds")
        for seconds in ("a day", "1.5", "-1", "²", " 1")
    ),
    ("RESONATE_GROUPS", "{", "must be a JSON object"),
    ("RESONATE_GROUPS", "[]", "must be a JSON object"),
    ("RESONATE_GROUPS", '{"worker": 7}', "must be a JSON object"),
    ("RESONATE_GROUPS", '{"worker": "somewhere"}', "maps 'worker' to something that is no address"),
    (
        "RESONATE_GROUPS",
        '{"worker": "poll://any@other"}',
        "maps 'worker' to 'poll://any@other': a group is served by a push address",
    ),
    ("RESONATE_PUSH_PRIVATE", "yes", "must be on or off, got 'yes'"),
)


def test_malformed_variables_are_refused(subtests: pytest.Subtests) -> None:
    for name, value, problem in REFUSED:
        with subtests.test(name, value=value), pytest.raises(SettingsError, match=f"{name} {problem}"):
            Settings.of({**ENVIRONMENT, name: value})


def test_push_private_is_off_by_default() -> None:
    def private(text: str) -> bool:
        return Settings.of({**ENVIRONMENT, "RESONATE_PUSH_PRIVATE": text}).push_private

    assert not Settings.of(ENVIRONMENT).push_private
    assert {text: private(text) for text in ("", "off", "on")} == {"": False, "off": False, "on": True}


ORIGINS = {
    "http://localhost:8000/": "http://localhost:8000",
    "HTTPS://Example.com": "https://example.com",
    "https://example.com:443": "https://example.com",
    "http://example.com:443/": "http://example.com:443",
    "http://[::1]:3000": "http://[::1]:3000",
    "*": "*",
}


def test_origin_is_kept_as_browsers_write_it() -> None:
    assert {listed: origins_of(["", f" {listed} "], "--cors") for listed in ORIGINS} == {
        listed: (origin,) for listed, origin in ORIGINS.items()
    }


def test_origin_that_can_never_match_is_refused(subtests: pytest.Subtests) -> None:
    for listed in (
        *("null", "example.com", "http://", "http://a/p", "http://a?q"),
        *("http://*.a", "http://u@a", "http://a:65536", "http://\u00fc.a"),
    ):
        with (
            subtests.test(listed),
            pytest.raises(SettingsError, match=r"--cors names .*: an origin is such as .* without a path"),
        ):
            origins_of([listed], "--cors")
