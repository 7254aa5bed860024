"""Output of a check: text for people, JSON for scripts, and SARIF for services that show findings in pull requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from resonate_infra.lint.checking import Checked
from resonate_infra.lint.rules import RULES, Finding
from resonate_infra.text import plain

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def text(checked: Checked) -> str:
    """Return one line for each finding."""
    return "\n".join(
        f"{plain(each.path)}:{each.line}:{each.column}: {each.code} {plain(each.message)}" for each in checked.findings
    )


def summary(checked: Checked) -> str:
    """Return one line about the whole check."""
    files, workflows = _count(checked.files, "file"), _count(checked.workflows, "workflow")
    found = _count(len(checked.findings), "finding") if checked.findings else "no finding"
    return f"{files}, {workflows}, {found}"


def as_json(checked: Checked) -> str:
    """Return one JSON document."""
    findings = [
        {**each._asdict(), "name": each.rule.name, "severity": each.rule.severity, "help": each.rule.help}
        for each in checked.findings
    ]
    document = {
        "findings": findings,
        "unreadable": [each._asdict() for each in checked.unreadable],
        "files": checked.files,
        "workflows": checked.workflows,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def as_sarif(checked: Checked) -> str:
    """Return a log in the format SARIF 2.1.0."""
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": rule.summary},
            "help": {"text": f"`{rule.help}` says what to write instead."},
            "defaultConfiguration": {"level": rule.severity, "enabled": rule.severity != "note"},
        }
        for rule in RULES.values()
    ]
    notifications = [
        {
            "level": "error",
            "message": {"text": each.message},
            "locations": [_location(each.path, {"startLine": each.line})],
        }
        for each in checked.unreadable
    ]
    run = {
        "tool": {"driver": {"name": "resonate lint", "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": not checked.unreadable, "toolExecutionNotifications": notifications},
        ],
        "results": [_result(each) for each in checked.findings],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _result(finding: Finding) -> dict[str, Any]:
    region = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": finding.end_line,
        "endColumn": finding.end_column,
    }
    return {
        "ruleId": finding.code,
        "ruleIndex": list(RULES).index(finding.code),
        "level": finding.rule.severity,
        "message": {"text": finding.message},
        "locations": [_location(finding.path, region)],
    }


def _location(path: str, region: dict[str, int]) -> dict[str, Any]:
    pure = Path(path)
    uri = pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
