"""What a verdict leaves behind: lines, JSON, JUnit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

from doorbuster.report import write_report
from doorbuster.verdict import judge

Builder = Callable[..., Any]


def _mixed(hand_made: Builder) -> Any:
    """One row of each status that a void run can have: invalid, fail, not applicable, pass."""
    sale = hand_made(
        objectives=[{"name": "poll", "kind": "failed_requests", "step": "poll", "at_most": 0.01}]
    )
    sale.run["generator"]["dropped"] = 2
    sale.audits[0]["items"][0]["max_units_per_account"] = 9
    sale.audits[0]["captured_cents"] = None
    return sale.write()


def test_the_verdict_comes_last(hand_made: Builder) -> None:
    lines = judge(hand_made().write()).lines()
    assert lines[-1].startswith("PASS: ")
    assert all(line.startswith("PASS ") for line in lines[:-1])


def test_json_is_versioned_and_complete(hand_made: Builder) -> None:
    folder = _mixed(hand_made)
    verdict = judge(folder)
    content = json.loads((folder.path / "verdict.json").read_text("utf-8"))
    assert content == json.loads(json.dumps(verdict.to_json()))
    assert content["schema"] == "doorbuster.verdict/1"
    assert content["exit_code"] == verdict.exit_code == 1
    statuses = {check["status"] for check in content["checks"]}
    assert statuses == {"pass", "fail", "invalid", "not_applicable"}
    assert all(check["sentence"] and check["name"] for check in content["checks"])


def test_json_holds_no_infinities(hand_made: Builder) -> None:
    """A sale that never sold out has no number, and JSON has no infinity."""
    sale = hand_made(objectives=[{"name": "it", "kind": "sell_out", "at_most": "4s"}])
    sale.visits[0].update(outcome="unpaid", paid_s=None, price_paid_cents=0)
    text = json.dumps(judge(sale.write()).to_json(), allow_nan=False)
    assert "never within 4.00 s" in text


def test_junit_counts_what_it_shows(hand_made: Builder) -> None:
    folder = _mixed(hand_made)
    verdict = judge(folder)
    suite = ET.fromstring((folder.path / "junit.xml").read_text("utf-8")).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert len(cases) == len(verdict.checks) == int(suite.attrib["tests"])
    for element, statuses in (
        ("failure", ("fail",)),
        ("error", ("invalid",)),
        ("skipped", ("inconclusive", "not_applicable")),
    ):
        names = {case.attrib["name"] for case in cases if case.find(element) is not None}
        assert names == {check.id for check in verdict.checks if check.status in statuses}
        key = {"failure": "failures", "error": "errors", "skipped": "skipped"}[element]
        assert int(suite.attrib[key]) == len(names)


def test_the_last_line_names_what_failed(hand_made: Builder) -> None:
    names = ("bots", "all-of-it")
    objectives = [
        {"name": n, "kind": "stock_share", "persona": "bot", "at_most": 0.1} for n in names
    ]
    verdict = judge(hand_made(objectives=objectives).write())
    assert verdict.lines()[-1] == "FAIL: failed: bots, all-of-it"


def test_a_void_run_judges_no_objective(hand_made: Builder) -> None:
    """Objectives and what visitors were told are shown as not judged; an oversell still counts."""
    objective = {"name": "bots", "kind": "stock_share", "persona": "bot", "at_most": 0.1}
    sale = hand_made(objectives=[objective])
    sale.run["generator"]["dropped"] = 2
    verdict = judge(folder := sale.write())
    rows = {check.id: check for check in verdict.checks}
    for name in ("objective.bots", "invariant.orders_told", "invariant.price"):
        assert (rows[name].status, rows[name].value) == ("not_applicable", None)
        assert rows[name].sentence() == "not judged: the measurement is void"
    assert rows["invariant.oversell"].status == "pass"
    assert sum(line.startswith("NOT JUDGED ") for line in verdict.lines()) == 3
    assert verdict.lines()[-1].startswith("INVALID: ")
    assert "nothing dropped" in verdict.lines()[-1]
    assert "not judged" in (folder.path / "junit.xml").read_text("utf-8")
    html = write_report(folder.path / "report.html", folder).read_text("utf-8")
    assert "not judged: the measurement is void" in html


def test_a_row_says_the_same_in_both_languages(hand_made: Builder) -> None:
    """Sentences of both languages carry the same numbers."""
    for check in judge(_mixed(hand_made)).checks:
        digits = [
            "".join(c for c in check.sentence(lang) if c.isdigit()) for lang in ("en", "zh-CN")
        ]
        assert sorted(digits[0]) == sorted(digits[1]), check.id
