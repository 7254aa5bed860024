"""The server that arguments and environment variables name."""

from __future__ import annotations

import pytest

from resonate_store.model.servers import Scope
from resonate_store.remote.settings import server_of
from resonate_store.settings import SettingsError

LOCAL = "http://localhost:8001"
API = "https://abc.execute-api.eu-west-1.amazonaws.com/v1"


def test_server_url_is_that_of_arguments_then_environment(subtests: pytest.Subtests) -> None:
    for environment, arguments, requests, messages in [
        ({}, {}, LOCAL, LOCAL),
        ({}, {"host": "http://localhost", "store_port": "8001", "message_source_port": "8001"}, LOCAL, LOCAL),
        ({}, {"host": "http://h", "store_port": 9, "message_source_port": "10"}, "http://h:9", "http://h:10"),
        ({}, {"host": "http://h"}, "http://h:8001", "http://h:8001"),
        ({}, {"host": "http://h:9"}, "http://h:9", "http://h:9"),
        ({}, {"store_port": 9}, "http://localhost:9", "http://localhost:9"),
        ({}, {"message_source_port": 8002}, LOCAL, "http://localhost:8002"),
        ({}, {"host": "h"}, "http://h:8001", "http://h:8001"),
        ({}, {"url": "https://h/path/"}, "https://h/path", "https://h/path"),
        ({}, {"url": "http://h:9", "message_source_port": 10}, "http://h:9", "http://h:10"),
        ({"RESONATE_URL": "https://h"}, {}, "https://h", "https://h"),
        ({"RESONATE_URL": "https://h"}, {"host": "http://g"}, "http://g:8001", "http://g:8001"),
        ({"RESONATE_URL": "https://h", "RESONATE_HOST": "http://g"}, {}, "https://h", "https://h"),
        ({"RESONATE_HOST": "http://g"}, {}, "http://g:8001", "http://g:8001"),
        ({"RESONATE_HOST": "http://g"}, {"host": "http://h"}, "http://h:8001", "http://h:8001"),
        ({"RESONATE_HOST_STORE": "http://s", "RESONATE_HOST": "http://g"}, {}, "http://s:8001", "http://g:8001"),
        ({"RESONATE_HOST_MESSAGE_SOURCE": "http://m"}, {}, LOCAL, "http://m:8001"),
        ({"RESONATE_PORT_STORE": "9"}, {}, "http://localhost:9", "http://localhost:9"),
        ({"RESONATE_PORT_STORE": "9"}, {"store_port": 10}, "http://localhost:10", "http://localhost:10"),
        ({"RESONATE_PORT_MESSAGE_SOURCE": "8002"}, {}, LOCAL, "http://localhost:8002"),
    ]:
        with subtests.test(environment=environment, arguments=arguments, requests=requests, messages=messages):
            server = server_of(environment, **arguments)
            assert (server.url, server.messages_url) == (requests, messages)


def test_server_credentials_are_those_of_arguments_then_environment(subtests: pytest.Subtests) -> None:
    for environment, arguments, token, auth in [
        ({"RESONATE_TOKEN": "t"}, {}, "t", None),
        ({"RESONATE_TOKEN": "t"}, {"token": "u"}, "u", None),
        ({"RESONATE_TOKEN": "t"}, {"auth": ("a", "b")}, None, ("a", "b")),
        ({"RESONATE_USERNAME": "a", "RESONATE_PASSWORD": "b"}, {}, None, ("a", "b")),
        ({"RESONATE_USERNAME": "a"}, {}, None, ("a", "")),
        ({"RESONATE_PASSWORD": "b"}, {}, None, None),
        ({"RESONATE_USERNAME": "a", "RESONATE_TOKEN": "t"}, {}, "t", None),
    ]:
        with subtests.test(environment=environment, arguments=arguments, token=token, auth=auth):
            server = server_of(environment, **arguments)
            assert (server.token, server.auth) == (token, auth)


def test_server_scope_is_derived_from_the_url(subtests: pytest.Subtests) -> None:
    for arguments, scope in [
        ({"url": API}, Scope("execute-api", "eu-west-1")),
        ({"url": API, "token": "t"}, None),
        ({"url": API, "auth": ("a", "b")}, None),
        ({"url": API, "iam": False}, None),
        ({"url": API, "token": "t", "iam": True}, Scope("execute-api", "eu-west-1")),
        ({"url": "https://x.lambda-url.eu-west-1.on.aws"}, None),
        ({"url": "https://x.lambda-url.eu-west-1.on.aws", "iam": True}, Scope("lambda", "eu-west-1")),
        ({"url": "https://api.example.com", "iam": True}, Scope("execute-api", None)),
        ({}, None),
    ]:
        with subtests.test(arguments=arguments, scope=scope):
            assert server_of({}, **arguments).scope == scope


def test_server_arguments_that_are_invalid_raise_an_error(subtests: pytest.Subtests) -> None:
    for arguments, error, message in [
        ({"url": "http://h", "host": "http://h"}, ValueError, "url, or its host and store_port, not both"),
        ({"url": "http://h", "store_port": 1}, ValueError, "not both"),
        ({"auth": ("a", "b"), "token": "t"}, ValueError, "not both"),
        ({"auth": "a:b"}, TypeError, "auth must be a pair"),
        ({"auth": ("a", 1)}, TypeError, "auth must be a pair"),
        ({"token": b"t"}, TypeError, "token must be `str`, got bytes"),
        ({"url": "ftp://h"}, ValueError, "url must be an address such as"),
        ({"url": "http://h?x=1"}, ValueError, "url must be an address such as"),
        ({"host": 1}, TypeError, "host must be `str`, got int"),
        ({"store_port": "http"}, ValueError, "a port must be a number from 1 to 65535, got 'http'"),
        ({"store_port": 65536}, ValueError, "from 1 to 65535"),
        ({"store_port": 80.5}, TypeError, "must be `str` or `int`, got float"),
        ({"message_source_port": True}, TypeError, "got bool"),
    ]:
        with subtests.test(arguments=arguments), pytest.raises(error, match=message):
            server_of({}, **arguments)


def test_server_port_that_is_invalid_in_the_environment_is_named() -> None:
    with pytest.raises(SettingsError, match="RESONATE_PORT_STORE must be a number from 1 to 65535, got 'x'"):
        server_of({"RESONATE_PORT_STORE": "x"})
