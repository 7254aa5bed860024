"""Names of a server in the `Host` header of a request."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

ANY = "*"
"""The name that admits all hosts."""
_WILDCARDS = ("", "0.0.0.0", "::")


class HostCheck:
    """Check of `Host` headers.

    Args:
        hosts: names and addresses of the server in addition to loopback. "*" admits all. An address that means every
            address of the machine, such as 0.0.0.0, admits every address, but no name.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(map(_normal, hosts))
        self._any_address = any(host in _WILDCARDS for host in self._hosts)

    def admits(self, host: str) -> bool:
        """Return whether a `Host` header names the server."""
        name = host_of(host)
        if name is None:
            return False
        if ANY in self._hosts or name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        # DNS rebinding needs a name. An address in a URL cannot resolve to another machine.
        return self._any_address or (getattr(address, "ipv4_mapped", None) or address).is_loopback


def host_of(text: str) -> str | None:
    """Return the name or address in a `Host` header, without its port. Return None if it is malformed."""
    try:
        found = urlsplit(f"//{text}")
        name, _ = found.hostname, found.port
    except ValueError:
        return None
    return _normal(name) if name and found.netloc == text and "@" not in text else None


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
