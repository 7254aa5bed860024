"""The choice between the socket and urllib3. test_http.py makes requests over both."""

from __future__ import annotations

import subprocess
import sys

import pytest

from resonate_store.interface import StoreError
from resonate_store.remote.http import Fault
from resonate_store.remote.post import HttpPost
from tests.support.ports import free_port
from tests.support.serving import Serving, new_server  # noqa: F401


def test_post_without_tls_imports_no_urllib3(serving: Serving) -> None:
    program = (
        "import sys; from resonate_store.remote.post import HttpPost;"
        " print(HttpPost(sys.argv[1])(b'{\"kind\":\"x\"}', {}, 5.0).status, 'urllib3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, serving.url], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["400", "False"]


def test_post_that_reaches_no_server_is_a_fault() -> None:
    for scheme in ("http", "https"):
        with pytest.raises(Fault, match="refused") as caught:
            HttpPost(f"{scheme}://127.0.0.1:{free_port()}")(b"", {}, 5.0)
        assert not caught.value.sent


def test_post_to_an_invalid_address_is_refused() -> None:
    for url in ("http://[::1", "https://"):
        with pytest.raises(StoreError, match="is no address of a server"):
            HttpPost(url)(b"", {}, 5.0)
