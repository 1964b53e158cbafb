"""The capacity page: the same findings as the sentences, in every language, for every ending."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from doorbuster.capacity.findings import Capacity
from doorbuster.capacity.page import render, write_capacity_page
from doorbuster.capacity.sentences import headline
from doorbuster.scenario import Scenario

Fake = Any
Carries = Callable[[Scenario, str, float], float]
WIDE, PHONE = 1280, 390


class Texts(HTMLParser):
    """What a reader sees, script and style aside."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._hidden = tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.seen.append(data)


@pytest.fixture
def studies(fake: Fake, two_stations: Scenario, station_carries: Carries) -> dict[str, Capacity]:
    """One study of each kind of ending."""

    def weak(scenario: Scenario, factor: float) -> float:
        loads = station_carries(scenario, "web", 6.0), station_carries(scenario, "db", 10.0)
        return factor / min(loads) - 1

    def alike(scenario: Scenario, factor: float) -> float:
        return factor / min(station_carries(scenario, name, 6.0) for name in ("web", "db")) - 1

    interrupted = fake(two_stations, weak)
    interrupted.interrupt_after = 0
    return {
        "complete": fake(two_stations, weak).study(),
        "several": fake(two_stations, alike).study(),
        "never": fake(two_stations, lambda _scenario, _factor: -0.5).study(),
        "at once": fake(two_stations, lambda _scenario, _factor: 0.5).study(),
        "undecided": fake(two_stations, weak, doubt=100.0).study(),
        "interrupted": interrupted.study(),
        "cut": fake(two_stations, weak).study(max_sales=150),
    }


def data_in(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_every_ending_has_a_page_without_gaps(studies: dict[str, Capacity]) -> None:
    """No placeholder is left, the headline is there in both languages, nothing is loaded."""
    for name, found in studies.items():
        page = render(found, "version: 1 # <&>")
        reader = Texts()
        reader.feed(page)
        text = " ".join(reader.seen)
        assert not re.search(r"\{\w*\}|\bNone\b|\bnan\b", text), name
        for language in ("en", "zh-CN"):
            assert headline(found)(language) in text, name
        assert "version: 1 # <&>" in text
        assert not re.search(r"""(?:src|href)=["']https?:""", page)


def test_the_marks_of_the_knee_plot_are_those_of_the_findings(
    studies: dict[str, Capacity],
) -> None:
    found = studies["complete"]
    assert found.bracket is not None
    chart = data_in(render(found, ""))["charts"]["knee"]
    marks = {key: value for value, key in chart["marks"]}
    assert marks["chart.mark.planned"] == found.settings.target
    assert marks["chart.mark.broke"] == found.bracket.broke
    assert marks.get("chart.mark.knee") == found.knee_response
    assert chart["x"] == sorted(chart["x"])
    assert len(chart["series"][0]["y"]) == len(chart["x"]) == len(found.sweep)
    assert "frontier" in data_in(render(found, ""))["charts"]
    assert "frontier" not in data_in(render(studies["never"], ""))["charts"]


def test_the_first_objective_and_the_cause_stand_out(studies: dict[str, Capacity]) -> None:
    page = render(studies["complete"], "")
    assert re.search(r'<tr class="flagged"><td>o</td>', page)
    assert len(re.findall(r'<tr class="flagged"><td>web</td>', page)) == 1
    assert (
        len(re.findall(r'<tr class="flagged"><td>(web|db)</td>', render(studies["several"], "")))
        == 2
    )


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_page_in_a_browser(
    browser: Any, studies: dict[str, Capacity], tmp_path: Path, width: int
) -> None:
    """No error, all four charts drawn, nothing wider than the screen, in both languages."""
    path = write_capacity_page(tmp_path / "report.html", studies["complete"], "version: 1")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.resolve().as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    for language, title in (("en", "The knee"), ("zh-CN", "拐点")):
        browser.execute_script(
            f"""document.querySelector('[data-language="{language}"]').click()"""
        )
        assert title in browser.execute_script("return document.body.innerText")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script("return document.querySelectorAll('.uplot').length") == 4
    rows = """return document.querySelector('[data-table="knee"] table').tBodies[0].rows.length"""
    assert browser.execute_script(rows) == len(studies["complete"].sweep)
    assert browser.get_log("browser") == []
