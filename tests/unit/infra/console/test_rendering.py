"""Templates, static files and escaping."""

from __future__ import annotations

import re
from importlib.resources import files

from resonate_infra.console.rendering import STATIC, url
from tests.support.console_demo import MONDAY, Shop
from tests.support.console_pages import Pages, text_of

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}"


def test_texts_of_users_are_escaped(pages: Pages, shop: Shop) -> None:
    id = f"a/{HOSTILE}"
    shop.begin(id, MONDAY, HOSTILE, (HOSTILE,))
    shop.step(f"{id}.1", HOSTILE, MONDAY, 1, HOSTILE, ValueError(HOSTILE))
    for path in (
        url("/executions"),
        url("/executions", id=id, func=HOSTILE, tag=HOSTILE),
        url("/execution", id=id),
        url("/execution", id=id, view="tree", step=f"{id}.1"),
        url("/execution", id=id, view="records"),
        url("/promise", id=f"{id}.1"),
        url("/execution", id=HOSTILE),
        url("/start", func=HOSTILE, target=HOSTILE, by_hand="1"),
    ):
        page = pages.client.request("GET", path).text
        assert "<script>alert" not in page
        assert HOSTILE in text_of(page) or "{{7*7}}" in page
        assert "49" not in text_of(page.replace("{{7*7}}", ""))


def test_pages_have_no_inline_code_and_no_foreign_address(filled: Pages) -> None:
    for path in (
        "/executions",
        "/execution?id=order-4119&step=order-4119.3",
        "/people",
        "/schedules",
        "/schedule?id=stocktake",
        "/workers",
        "/start",
    ):
        page = filled.get(path)
        assert re.findall(r"<script(?![^>]* src=)", page) == []
        assert re.findall(r"""\s(style|on\w+|hx-on[^=]*)=["']""", page) == []
        assert re.findall(r"""(?:src|href|action)=["'](?!/console|\#)""", page.replace('href="https://', "")) == []


def test_templates_escape_all_texts_and_have_no_code() -> None:
    folder = files("resonate_infra.console") / "templates"
    texts = [each.read_text() for each in (*folder.iterdir(), *(folder / "parts").iterdir()) if each.is_file()]
    assert len(texts) > 15
    for text in texts:
        assert re.search(r"\|\s*safe|autoescape|hx-on|js:|javascript:|hx-trigger=\"[^\"]*\[", text) is None


def test_static_files_are_kept_by_browsers(pages: Pages) -> None:
    page = pages.get("/executions")
    for name, media_type in STATIC.items():
        found = re.search(rf'(/console/static/{re.escape(name)}\?v=\w+)"', page)
        assert found is not None
        response = pages.client.request("GET", found[1])
        assert (response.status_code, response.headers["content-type"]) == (200, media_type)
        assert "immutable" in response.headers["cache-control"]
    assert pages.client.request("GET", "/console/static/htmx.LICENSE").status_code == 404
    assert pages.client.request("GET", "/console/executions").headers["cache-control"] == "no-store"


def test_url_leaves_out_what_is_not_given() -> None:
    assert url("/execution", id="a b", step=None, toggle=["x", "y"], from_=3) == (
        "/console/execution?id=a+b&toggle=x&toggle=y&from=3"
    )
