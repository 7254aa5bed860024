"""Rules: their codes, names and severities. docs/lint.md has a section for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


class LintRule(NamedTuple):
    """Rule of the check.

    Attributes:
        code: its code.
        name: its name.
        severity: `error` if a replay can differ or the code fails, `warning` if it usually is a mistake, `note` if a
            reader has to judge. Notes are off by default.
        summary: one sentence about it.
    """

    code: str
    name: str
    severity: Severity
    summary: str

    @property
    def help(self) -> str:
        """The command that explains it."""
        return f"resonate explain {self.code}"


RULES: dict[str, LintRule] = {
    rule.code: rule
    for rule in (
        LintRule("RS001", "clock", "error", "A workflow reads a clock."),
        LintRule("RS002", "randomness", "error", "A workflow draws random numbers."),
        LintRule("RS003", "new-id", "error", "A workflow makes a new id."),
        LintRule("RS004", "input-output", "error", "A workflow does input or output outside of a step."),
        LintRule("RS005", "sleep", "error", "A workflow sleeps in its process."),
        LintRule("RS006", "concurrency", "error", "A workflow uses threads, processes or tasks of asyncio."),
        LintRule("RS007", "environment", "warning", "A workflow reads the environment of its process."),
        LintRule("RS008", "module-state", "error", "A workflow reads or writes a module variable that changes."),
        LintRule("RS101", "command-not-yielded", "error", "A command is made, and not yielded or awaited."),
        LintRule("RS102", "continuation-not-returned", "error", "The result of `ctx.continue_as` is not returned."),
        LintRule("RS103", "promise-dropped", "warning", "The promise of a begun call is not kept."),
        LintRule("RS104", "order-of-a-set", "error", "Commands are issued in the order of a set."),
        LintRule("RS201", "swallowed-exit", "error", "A handler catches the end of a suspended or cancelled workflow."),
        LintRule("RS202", "finally-left", "error", "A `finally` block is left by return, break or continue."),
        LintRule("RS203", "yield-in-finally", "note", "A `finally` block yields or awaits."),
        LintRule("RS301", "shared-state", "error", "A branch or step changes a variable of its workflow."),
        LintRule("RS302", "argument-cannot-travel", "error", "An argument has no JSON form."),
        LintRule("RS401", "unknown-function", "warning", "A call names a function that is not registered."),
        LintRule(
            "RS402",
            "effect-may-repeat",
            "note",
            "A step with an effect outside has no key, and may run twice.",
        ),
    )
}


class Finding(NamedTuple):
    """Place at which a rule applies.

    Attributes:
        code: the code of the rule.
        message: one sentence, which names the thing and the way out.
        path: the file, as the user named it.
        line, column, end_line, end_column: the place, from 1. The end column is behind the last character.
        workflow: the name of the workflow, or of the step.
    """

    code: str
    message: str
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    workflow: str

    @property
    def rule(self) -> LintRule:
        """Its rule."""
        return RULES[self.code]


def selection(select: Iterable[str], ignore: Iterable[str]) -> frozenset[str]:
    """Return the codes of the rules to apply.

    Args:
        select: codes, or beginnings of codes, each of which may be a list with commas. Without any, all rules except
            notes apply.
        ignore: the same for rules that do not apply.

    Raises:
        ValueError: no rule begins so.
    """
    chosen = _codes("--select", select) or {code for code, rule in RULES.items() if rule.severity != "note"}
    return frozenset(chosen - _codes("--ignore", ignore))


def _codes(option: str, texts: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for text in (part.strip() for each in texts for part in each.split(",")):
        codes = {code for code in RULES if code.startswith(text.upper())} if text else set[str]()
        if not codes:
            raise ValueError(f"{option} names {text!r}, and no rule begins so: the codes are RS001 to RS402")
        found |= codes
    return found
