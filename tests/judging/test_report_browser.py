"""The report in a real browser: no error, no request, charts with ink, both languages, phones.

Needs Chromium and its driver (Debian: chromium, chromium-driver). Without them the tests are
skipped with the reason, unless DOORBUSTER_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Builder = Callable[..., Any]

WIDE, PHONE = 1280, 390

INK = """
return [...document.querySelectorAll('.uplot canvas')].map(canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 128) colours.add(
    (pixels[i] >> 4 << 8) | (pixels[i + 1] >> 4 << 4) | pixels[i + 2] >> 4);
  return colours.size;
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Filled by the first test that draws: one page serves the whole module."""
    del tmp_path_factory
    return {}


def _open(browser: Any, page: dict[str, str], hand_made: Builder, width: int) -> None:
    if not page:
        from doorbuster.report import write_report

        objective = {"name": "page", "kind": "response_time", "at_most": "1s"}
        live = hand_made(objectives=[objective]).write("live")
        simulated = hand_made(world="sim", replications=3, objectives=[objective]).write("sim")
        path = Path(write_report(live.path / "report.html", live, simulated))
        page["url"] = path.resolve().as_uri()
    _resize(browser, width)
    browser.get(page["url"])


def _resize(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _requests(browser: Any) -> list[str]:
    """Addresses that the page asked for; the browser's own start page is none of them."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
        and message["params"]["documentURL"].startswith("file:")
    ]


def _click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_loads_from_disk_without_error_or_request(
    browser: Any, page: dict[str, str], hand_made: Builder
) -> None:
    _open(browser, page, hand_made, WIDE)
    assert browser.get_log("browser") == []
    assert {url for url in _requests(browser) if not url.startswith("data:")} == {page["url"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_charts_have_ink(
    browser: Any, page: dict[str, str], hand_made: Builder, width: int, scheme: str
) -> None:
    """Every chart shows at least three colours (axes, lines), whatever the light and the width."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    _open(browser, page, hand_made, width)
    colours = browser.execute_script(INK)
    assert len(colours) == 6
    assert min(colours) >= 3, colours


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_nothing_overflows(
    browser: Any, page: dict[str, str], hand_made: Builder, width: int, language: str
) -> None:
    _open(browser, page, hand_made, width)
    _click(browser, f'[data-language="{language}"]')
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_switch_changes_the_language(
    browser: Any, page: dict[str, str], hand_made: Builder
) -> None:
    """Headings, legends and chart labels follow; one language is visible at a time."""
    from doorbuster.report.catalogue import say

    _open(browser, page, hand_made, WIDE)
    for language, other in (("zh-CN", "en"), ("en", "zh-CN")):
        _click(browser, f'[data-language="{language}"]')
        visible = browser.execute_script("return document.body.innerText")
        for key in ("section.stock", "headline.held", "chart.stock.available", "kind.validity"):
            assert say(key, language=language) in visible
            assert say(key, language=other) not in visible
    assert browser.get_log("browser") == []


def test_a_chart_is_also_a_table(browser: Any, page: dict[str, str], hand_made: Builder) -> None:
    """The table has a row a point and the numbers of the chart."""
    _open(browser, page, hand_made, WIDE)
    _click(browser, '[data-table="stock"] summary')
    script = """const t = document.querySelector('[data-table="stock"] table');
        const x = JSON.parse(document.getElementById('data').textContent).charts.stock.x;
        return [t.tBodies[0].rows.length, x.length, t.tBodies[0].rows[0].innerText]"""
    rows, points, first = browser.execute_script(script)
    assert rows == points
    assert "50" in first.split()


def test_a_legend_is_quiet_until_the_pointer_comes(
    browser: Any, page: dict[str, str], hand_made: Builder
) -> None:
    """No dashes of a value that nobody asked for."""
    _open(browser, page, hand_made, WIDE)
    seen = """return getComputedStyle(document.querySelector('.uplot .u-value')).visibility"""
    assert browser.execute_script(seen) == "hidden"
    browser.execute_script("""const over = document.querySelector('.u-over');
        const box = over.getBoundingClientRect();
        for (const kind of ['mouseenter', 'mousemove'])
          over.dispatchEvent(new MouseEvent(kind, {bubbles: true, view: window,
            clientX: box.left + box.width / 2, clientY: box.top + box.height / 2}));""")
    browser.execute_async_script("setTimeout(arguments[0], 200)")
    assert browser.execute_script(seen) == "visible"


def test_the_step_buttons_speak_both_languages(
    browser: Any, page: dict[str, str], hand_made: Builder
) -> None:
    _open(browser, page, hand_made, WIDE)
    first = "return document.querySelector('[data-steps] button').textContent"
    for language, text in (("zh-CN", "全部步骤"), ("en", "all steps")):
        _click(browser, f'[data-language="{language}"]')
        assert browser.execute_script(first) == text


def test_a_step_can_be_chosen(browser: Any, page: dict[str, str], hand_made: Builder) -> None:
    _open(browser, page, hand_made, WIDE)
    _click(browser, 'button[value="response.pay"]')
    pressed = "return document.querySelector('[data-steps] [aria-pressed=true]').textContent"
    assert browser.execute_script(pressed) == "pay"
    chart = "return document.querySelectorAll('[data-chart=\"response.pay\"] canvas').length"
    assert browser.execute_script(chart) == 1
