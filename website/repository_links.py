"""Markdown extension of the site: links to files of the repository that are not pages become text."""

import re
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

OUTSIDE = re.compile(r"(\.\./)+(examples|benchmarks|tests|sdk|store|infra|functions|events)(/|$)")


class _RepositoryLinks(Treeprocessor):
    """Replaces each link to a folder outside of `docs` by its text. The site does not have these files."""

    def run(self, root: Element) -> None:
        for link in root.iter("a"):
            if OUTSIDE.match(link.get("href", "")):
                link.tag = "span"
                link.attrib.clear()


class RepositoryLinks(Extension):
    """Adds the step to the conversion of a page."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(_RepositoryLinks(md), "repository_links", 5)


def makeExtension(**configuration: Any) -> Extension:
    """Return the extension. Python-Markdown calls this function by its name."""
    return RepositoryLinks(**configuration)
