import pytest

from resonate_infra.effects.settings import Settings, SettingsError, origins_of

ENVIRONMENT = {
    "RESONATE_TABLE": "promises",
    "RESONATE_GROUPS": '{"worker": "lambda://worker", "remote": "https://worker.example.com/"}',
    "RESONATE_TIMER_QUEUE_URL": "https://sqs/timers",
    "RESONATE_PUSH_QUEUE_URL": "https://sqs/pushes",
    "RESONATE_SCHEDULE_GROUP": "timers",
    "RESONATE_SCHEDULE_ROLE_ARN": "arn:aws:iam::1:role/scheduler",
    "RESONATE_TICK_ARN": "arn:aws:lambda:us-east-1:1:function:tick",
    "RESONATE_RETENTION_SECONDS": "86400",
}


def test_settings_are_what_the_environment_says() -> None:
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


@pytest.mark.parametrize("name", ENVIRONMENT)
@pytest.mark.parametrize("empty", [False, True])
def test_a_missing_variable_is_named(name: str, empty: bool) -> None:
    environment = {key: value for key, value in ENVIRONMENT.items() if key != name} | ({name: ""} if empty else {})

    with pytest.raises(SettingsError, match=rf"^the environment lacks {name}: "):
        Settings.of(environment)


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.of({})

    assert all(name in str(raised.value) for name in ENVIRONMENT)


@pytest.mark.parametrize("seconds", ["a day", "1.5", "-1", "²", " 1"])
def test_a_retention_that_is_no_number_of_seconds_is_refused(seconds: str) -> None:
    with pytest.raises(SettingsError, match="RESONATE_RETENTION_SECONDS must be a number of seconds"):
        Settings.of({**ENVIRONMENT, "RESONATE_RETENTION_SECONDS": seconds})


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ("{", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ('{"worker": 7}', "must be a JSON object"),
        ('{"worker": "somewhere"}', "maps 'worker' to something that is no address"),
        ('{"worker": "poll://any@other"}', "maps 'worker' to 'poll://any@other': a group is served by a push address"),
    ],
)
def test_malformed_groups_are_refused(groups: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=f"RESONATE_GROUPS {problem}"):
        Settings.of({**ENVIRONMENT, "RESONATE_GROUPS": groups})


@pytest.mark.parametrize(("text", "expected"), [(None, False), ("", False), ("off", False), ("on", True)])
def test_pushes_leave_the_internet_only_when_told(text: str | None, expected: bool) -> None:
    environment = ENVIRONMENT if text is None else {**ENVIRONMENT, "RESONATE_PUSH_PRIVATE": text}

    assert Settings.of(environment).push_private is expected


def test_anything_else_is_neither_on_nor_off() -> None:
    with pytest.raises(SettingsError, match="RESONATE_PUSH_PRIVATE must be on or off, got 'yes'"):
        Settings.of({**ENVIRONMENT, "RESONATE_PUSH_PRIVATE": "yes"})


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        ("http://localhost:8000/", "http://localhost:8000"),
        ("HTTPS://Example.com", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("http://example.com:443/", "http://example.com:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("*", "*"),
    ],
)
def test_origin_is_kept_as_browsers_write_it(listed: str, origin: str) -> None:
    assert origins_of(["", f" {listed} "], "--cors") == (origin,)


@pytest.mark.parametrize(
    "listed",
    [
        "null",
        "example.com",
        "http://",
        "http://a/p",
        "http://a?q",
        "http://*.a",
        "http://u@a",
        "http://a:65536",
        "http://\u00fc.a",
    ],
)
def test_origin_that_can_never_match_is_refused(listed: str) -> None:
    with pytest.raises(SettingsError, match=r"--cors names .*: an origin is such as .* without a path"):
        origins_of([listed], "--cors")
