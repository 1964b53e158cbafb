"""The verdict as a whole: its status, its exit code, its lines, its JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from doorbuster import exit_codes
from doorbuster.records.run_folder import RunFolder, RunFolderError
from doorbuster.report.catalogue import say
from doorbuster.report.numbers import quantity
from doorbuster.verdict.checks import Check, Status
from doorbuster.verdict.junit import junit_xml

SCHEMA = "doorbuster.verdict/1"
"""Raised when a field of verdict.json changes its meaning."""

Overall = Literal["pass", "fail", "invalid", "inconclusive", "target_failed"]

EXIT_CODES: dict[Overall, int] = {
    "pass": exit_codes.PASS,
    "fail": exit_codes.FAILED,
    "invalid": exit_codes.INVALID,
    "inconclusive": exit_codes.INVALID,
    "target_failed": exit_codes.TARGET_FAILED,
}

NAMES_MAX = 8
"""So many rows are named in the last line; the others are counted."""


@dataclass(frozen=True)
class Verdict:
    """All rows on one run and what follows from them."""

    scenario_name: str
    world: str
    replications: int
    checks: tuple[Check, ...]
    target_failed: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def status(self) -> Overall:
        """What the rows say together.

        A failure that the target's own account proves stands even in an invalid measurement: no
        late generator makes a shop oversell. Nothing judged is inconclusive, never a pass.
        """
        if any(check.status == "fail" and check.proves_alone for check in self.checks):
            return "fail"
        if self.target_failed:
            return "target_failed"
        found = {check.status for check in self.checks}
        if "invalid" in found:
            return "invalid"
        if "fail" in found:
            return "fail"
        judged = any(c.status == "pass" and c.kind != "validity" for c in self.checks)
        return "inconclusive" if "inconclusive" in found or not judged else "pass"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 failed, 3 invalid or inconclusive, 4 the target or environment failed."""
        return EXIT_CODES[self.status]

    def sentence(self, language: str = "en") -> str:
        """The verdict in one sentence, with the names of the rows that decided it."""
        facts: dict[str, object] = {
            "passed": sum(check.status == "pass" for check in self.checks),
            "reasons": "; ".join(self.reasons) or "@verdict.no_reason",
        }
        named: tuple[Status, ...] = ("fail", "invalid", "inconclusive")
        for status in named:
            names = [check.name(language) for check in self.checks if check.status == status]
            facts[status] = _listed(names)
        key = self.status
        if key == "fail" and self.target_failed:
            return say("verdict.fail_and_target_failed", facts, language=language)
        return say(f"verdict.{key}", facts, language=language)

    def lines(self) -> list[str]:
        """The rows for a terminal, the verdict last; rows that do not apply are left out."""
        shown = [c for c in self.checks if c.status != "not_applicable" or c.is_not_judged]
        width = max((len(check.name()) for check in shown), default=0)
        rows = [
            f"{_label(check):<12}  {check.name():<{width}}  {check.sentence()}" for check in shown
        ]
        return [*rows, f"{self.status.upper().replace('_', ' ')}: {self.sentence()}"]

    def to_json(self) -> dict[str, Any]:
        """The content of verdict.json."""
        return {
            "schema": SCHEMA,
            "scenario": self.scenario_name,
            "world": self.world,
            "replications": self.replications,
            "status": self.status,
            "exit_code": self.exit_code,
            "sentence": self.sentence(),
            "checks": [check.to_json() for check in self.checks],
        }

    def junit(self) -> str:
        """The rows as JUnit XML, one test case a row."""
        return junit_xml(f"doorbuster.{self.scenario_name}.{self.world}", self.checks)


def _label(check: Check) -> str:
    return "NOT JUDGED" if check.is_not_judged else check.status.upper()


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - NAMES_MAX
    return ", ".join([*names[:NAMES_MAX], *([f"+{more}"] if more > 0 else [])])


def limit_text(check: Check) -> str:
    """The limit of a row with its direction, such as `p95 ≤ 500 ms`; empty without one."""
    if check.limit is None:
        return ""
    if "percentile" in check.facts:
        return f"{check.facts['percentile']} ≤ {check.facts['limit']}"
    sign = {"at_most": "≤", "at_least": "≥", "below": "<", "equal": "="}[check.bound]
    return f"{sign} {quantity(check.limit, check.unit)}"


def write_verdict(folder: RunFolder, verdict: Verdict) -> None:
    """Write verdict.json and junit.xml into the run folder. Raises: RunFolderError."""
    try:
        folder.write_json("verdict.json", verdict.to_json())
        (folder.path / "junit.xml").write_text(verdict.junit(), "utf-8")
    except OSError as error:
        message = f"{folder.path}: the verdict cannot be written ({error})"
        raise RunFolderError(message) from None
