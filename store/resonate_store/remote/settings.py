"""Address and credentials of a Resonate server, from arguments and environment variables. Arguments win.

- `RESONATE_URL` is the whole address of the server.
- `RESONATE_HOST` is the host of requests and messages. `RESONATE_HOST_STORE` and `RESONATE_HOST_MESSAGE_SOURCE` name
  one host for each. Hosts include the scheme.
- `RESONATE_PORT_STORE` and `RESONATE_PORT_MESSAGE_SOURCE` are their ports.
- `RESONATE_TOKEN`, or `RESONATE_USERNAME` with `RESONATE_PASSWORD`, are the credentials.

Without any of them the address is http://localhost:8001, for requests and messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from resonate_store.model.servers import Scope, ServerSettings
from resonate_store.settings import SettingsError

DEFAULT_HOST = "http://localhost"
DEFAULT_PORT = 8001

_AWS_API = re.compile(
    r"https://[^/]+\.(?P<service>execute-api)\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?(?:[:/]|\Z)"
)
_FUNCTION_URL = re.compile(r"https://[^/]+\.(?P<service>lambda)-url\.(?P<region>[a-z0-9-]+)\.on\.aws(?:[:/]|\Z)")
_WITH_PORT = re.compile(r"https?://[^/]*:\d+\Z")


def server_of(
    environment: Mapping[str, str],
    *,
    url: str | None = None,
    host: str | None = None,
    store_port: str | int | None = None,
    message_source_port: str | int | None = None,
    auth: tuple[str, str] | None = None,
    token: str | None = None,
    iam: bool | None = None,
) -> ServerSettings:
    """Return the server that arguments and environment variables name.

    Args:
        environment: the environment variables. Arguments win over them.
        url: the whole address, in place of `host` and the ports.
        host: scheme and name, such as `http://localhost`.
        store_port: the port for requests, 1 to 65535, as a number or text.
        message_source_port: the port for messages, 1 to 65535, as a number or text.
        auth: user name and password, in place of `token`.
        token: a JSON Web Token (JWT).
        iam: whether requests are signed with AWS credentials. None signs them for an address of API Gateway if there is
            neither a token nor a password.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: arguments contradict each other, or are not an address or port.
        SettingsError: an environment variable is not valid.
    """
    if url is not None and (host is not None or store_port is not None):
        raise ValueError("give the server's url, or its host and store_port, not both")
    if auth is not None and token is not None:
        raise ValueError("give auth (a user name and a password) or a token, not both: a request has one Authorization")
    named = host is not None or store_port is not None
    url = url or (None if named else environment.get("RESONATE_URL") or None)
    if url is not None:
        requests = _address("url", url)
        messages = requests if message_source_port is None else _with_port(requests, message_source_port)
    else:
        requests = _joined("STORE", environment, host, store_port)
        messages = _joined("MESSAGE_SOURCE", environment, host, message_source_port, fallback=requests)
    if auth is None and token is None:
        token = environment.get("RESONATE_TOKEN") or None
        user = environment.get("RESONATE_USERNAME")
        if token is None and user:
            auth = (user, environment.get("RESONATE_PASSWORD", ""))
    if auth is not None:
        auth = _pair(auth)
    if token is not None and not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"token must be `str`, got {type(token).__name__}")
    aws = _AWS_API.match(requests) or _FUNCTION_URL.match(requests)
    if iam is None:
        iam = bool(_AWS_API.match(requests)) and auth is None and token is None
    scope = Scope(aws["service"], aws["region"]) if aws else Scope("execute-api", None)
    return ServerSettings(requests, messages, token, auth, scope if iam else None)


def _joined(
    what: str,
    environment: Mapping[str, str],
    host: str | None,
    port: str | int | None,
    fallback: str | None = None,
) -> str:
    """Return one of the two addresses. `fallback` is the other address, used if nothing is set for this one."""
    name = f"RESONATE_PORT_{what}"
    if port is None and environment.get(name):
        port = environment[name]
        _number(port, name, SettingsError)
    given = host or environment.get(f"RESONATE_HOST_{what}") or environment.get("RESONATE_HOST")
    if given is None and fallback is not None and port is None:
        return fallback
    base = _address("host", given or DEFAULT_HOST)
    if port is None:
        if fallback is not None and base == re.sub(r":\d+\Z", "", fallback):
            return fallback
        return base if _WITH_PORT.match(base) else f"{base}:{DEFAULT_PORT}"
    return _with_port(base, port)


def _with_port(base: str, port: str | int) -> str:
    scheme, _, rest = base.partition("://")
    name, slash, path = rest.partition("/")
    number = _number(port, "a port", ValueError)
    return f"{scheme}://{re.sub(r':[0-9]+$', '', name)}:{number}{slash}{path}"


def _number(port: str | int, what: str, error: type[ValueError]) -> int:
    if isinstance(port, bool) or not isinstance(port, str | int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{what} must be `str` or `int`, got {type(port).__name__}")
    text = str(port)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise error(f"{what} must be a number from 1 to 65535, got {port!r}")
    return int(text)


def _address(what: str, text: str) -> str:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{what} must be `str`, got {type(text).__name__}")
    address = (text if "://" in text else f"http://{text}").rstrip("/")
    if not re.match(r"https?://[^\s/?#]+[^\s?#]*\Z", address):
        raise ValueError(f"{what} must be an address such as http://localhost:8001, got {text!r}")
    return address


def _pair(auth: object) -> tuple[str, str]:
    match auth:
        case (str(user), str(password)):
            return user, password
        case _:
            raise TypeError("auth must be a pair of `str`: a user name and a password")
