"""The verdict as JUnit XML, which every CI server renders."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from doorbuster.report.numbers import quantity
from doorbuster.verdict.checks import Check

_ELEMENTS = {
    "fail": "failure",
    "invalid": "error",
    "inconclusive": "skipped",
    "not_applicable": "skipped",
}


def junit_xml(suite: str, checks: Sequence[Check]) -> str:
    """One test case a row: fail is a failure, invalid an error, inconclusive is skipped."""
    root = ET.Element("testsuites")
    statuses = [_ELEMENTS.get(check.status) for check in checks]
    counts = {
        "tests": len(checks),
        "failures": statuses.count("failure"),
        "errors": statuses.count("error"),
        "skipped": statuses.count("skipped"),
    }
    attributes = {key: str(number) for key, number in counts.items()}
    element = ET.SubElement(root, "testsuite", {"name": suite, **attributes})
    for check in checks:
        case = ET.SubElement(element, "testcase", classname=f"{suite}.{check.kind}", name=check.id)
        if check.status in _ELEMENTS:
            ET.SubElement(case, _ELEMENTS[check.status], message=check.sentence()).text = _facts(
                check
            )
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _facts(check: Check) -> str:
    parts = [f"status: {check.status}", f"value: {quantity(check.value, check.unit)}"]
    parts.append(f"limit: {quantity(check.limit, check.unit)} ({check.bound})")
    if check.interval is not None:
        low, high = (quantity(v, check.unit) for v in (check.interval.low, check.interval.high))
        confidence = f"{check.interval.confidence:.0%}"
        parts.append(f"interval: {low} to {high} ({confidence}, {check.interval.method})")
    return "\n".join(parts)
