"""The report as a file: self-contained, complete, in two languages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from click.testing import CliRunner

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster.measures.columns import OUTCOMES, REPLIES
from doorbuster.measures.fault_times import FAULT_KINDS
from doorbuster.report import write_report
from doorbuster.report.catalogue import LANGUAGES, catalogue, say
from doorbuster.report.numbers import count, duration, money, percent

Builder = Callable[..., Any]

OBJECTIVES = [
    {"name": "page-p95", "kind": "response_time", "step": "browse", "at_most": "500ms"},
    {"name": "bots", "kind": "stock_share", "persona": "bot", "at_most": 0.1},
]


class _Links(HTMLParser):
    """Everything that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def _page(hand_made: Builder, **arguments: Any) -> tuple[Path, str]:
    live = hand_made(objectives=OBJECTIVES, **arguments).write("live")
    simulated = hand_made(world="sim", replications=3, objectives=OBJECTIVES).write("sim")
    path = write_report(live.path / "report.html", live, simulated)
    return path, path.read_text("utf-8")


def _data(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_one_file_without_network(hand_made: Builder) -> None:
    path, html = _page(hand_made)
    links = _Links()
    links.feed(html)
    assert links.found == ["data:,"]
    assert not re.search(r"@import|url\(\s*['\"]?http", html)
    assert path.stat().st_size < 400_000


def test_the_licence_of_the_chart_library_travels_with_it(hand_made: Builder) -> None:
    assert "Copyright (c) 2022 Leon Sorokin" in _page(hand_made)[1]


def test_text_of_the_user_is_only_text(hand_made: Builder) -> None:
    """A description with a closing script tag neither ends the script nor becomes markup."""
    html = _page(hand_made)[1]
    assert "&lt;/script&gt;&lt;b&gt;that&lt;/b&gt;" in html
    assert "<b>that</b>" not in html
    assert "</script>" not in json.dumps(_data(html))


def test_every_chart_has_its_curves(hand_made: Builder) -> None:
    charts = _data(_page(hand_made)[1])["charts"]
    names = {"stock", "flow", "backlog", "outcomes", "replies", "response.all", "response.pay"}
    assert names <= set(charts)
    for name, chart in charts.items():
        for series in chart["series"]:
            assert len(series["y"]) == len(chart["x"]), name
    stock = {(s["label"], s["side"]): s for s in charts["stock"]["series"]}
    simulated = stock["chart.stock.available", "side.sim"]
    assert len(simulated["low"]) == len(charts["stock"]["x"])
    assert "low" not in stock["chart.stock.available", "side.live"]
    assert (simulated["y"][0], simulated["y"][-1]) == (50, 0)


def test_faults_are_shaded_in_every_chart(hand_made: Builder) -> None:
    """Of both sides; the names once, in the words of the catalogue where it has one."""
    live, simulated = hand_made(), hand_made(world="sim", replications=3)
    live.run["faults"] = [
        {"kind": "freeze", "begun_s": 4.0, "ended_s": 6.1},
        {"name": "a cable was cut", "begun_s": 2.0, "ended_s": None},
    ]
    simulated.run["faults"] = [{"kind": "freeze", "begun_s": 4.0, "ended_s": 6.0}]
    folders = live.write("live"), simulated.write("sim")
    path = write_report(folders[0].path / "report.html", *folders)
    data = _data(path.read_text("utf-8"))
    for chart in data["charts"].values():
        assert chart["faults"] == [
            ["=a cable was cut", 2.0, 30.0],
            ["fault_name.freeze", 4.0, 6.1],
            ["=", 4.0, 6.0],
        ]
    for kind in FAULT_KINDS:
        assert all(f"fault_name.{kind}" in data["words"][language] for language in LANGUAGES)


def test_the_page_says_what_matters(hand_made: Builder) -> None:
    html = _page(hand_made)[1]
    for text in ("fan: 76.0 %", "50 of 50 units were sold", "page-p95", "p95 ≤ 500 ms", "bots"):
        assert text in html, text
    # Both runs break the bots' objective: who reads only the first card must learn it.
    assert 'class="card fail"' in html
    assert say("headline.held.fail", language="zh-CN") in html


def test_words_of_the_records_are_translated(hand_made: Builder) -> None:
    """Outcomes, replies, steps and measures in both languages, the machine name as tooltip."""
    html = _page(hand_made)[1]
    for name, key in (
        ("sold_out", "outcome_name.sold_out"), ("ok", "reply_name.ok"),
        ("reserve", "step.reserve"), ("sold_units", "measure.sold_units"),
    ):  # fmt: skip
        for language in LANGUAGES:
            words = f'<span lang="{language}">{say(key, language=language)}</span>'
            assert re.search(f'<span title="{name}">[^\n]*{re.escape(words)}', html), (
                name,
                language,
            )


def test_the_headline_says_no_more_than_was_measured(hand_made: Builder) -> None:
    """The stock is read every second and finds nothing at 4 s; the last unit is paid later."""
    html = _page(hand_made)[1]
    assert "Within 4.0 s of the opening" in html
    assert "The stock was read every 1.00 s" in html
    assert "The last unit was paid after 4.46 s." in html
    assert say("key.p95_pay") in html


def test_several_sales_have_a_mean_and_one_a_bound(hand_made: Builder) -> None:
    simulated = hand_made(world="sim", replications=3).write("sim")
    html = write_report(simulated.path / "report.html", simulated).read_text("utf-8")
    assert "4.00 s after the opening on average" in html
    one, two = hand_made().write("one"), hand_made().write("two")
    html = write_report(one.path / "report.html", one, two).read_text("utf-8")
    assert "nothing left to reserve after ≤ 4.0 s" in html


def test_numbers_of_the_environment_have_units(hand_made: Builder) -> None:
    html = _page(hand_made)[1]
    for name, value in (("clock_bound_s", "0.100 ms"), ("cpu_fraction_max", "30.0 %")):
        assert f"<td>generator.{name}</td><td>{value}</td>" in html


def test_an_incomplete_run_is_marked_at_the_top(hand_made: Builder) -> None:
    sale = hand_made()
    sale.run.update(status="interrupted", reasons=["stopped by hand"])
    folder = sale.write()
    html = write_report(folder.path / "report.html", folder).read_text("utf-8")
    banner = html.index(say("ui.incomplete"))
    assert banner < html.index('class="card')
    assert "stopped by hand" in html


@pytest.mark.parametrize("kept", ["visits", "requests", "stock", "nothing"])
def test_a_run_with_holes_still_has_a_report(hand_made: Builder, kept: str) -> None:
    """Whatever a killed run left behind, the page is drawn and names it incomplete."""
    sale = hand_made(objectives=OBJECTIVES)
    for table in {"visits", "requests", "stock"} - {kept}:
        setattr(sale, table, [])
    sale.audits = []
    sale.run["status"] = "running"
    folder = sale.write()
    html = write_report(folder.path / "report.html", folder).read_text("utf-8")
    assert say("ui.incomplete") in html


def test_two_runs_of_one_world(hand_made: Builder) -> None:
    first, second = hand_made().write("one"), hand_made().write("two")
    html = write_report(first.path / "report.html", first, second).read_text("utf-8")
    assert say("side.a") in html
    assert say("side.b") in html


# --- words ---


def _facts(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_both_catalogues_say_everything_with_the_same_facts() -> None:
    english, chinese = (catalogue(language) for language in LANGUAGES)
    assert set(english) == set(chinese)
    assert [k for k in english if _facts(english[k]) != _facts(chinese[k])] == []
    untranslated = {k for k in english if english[k] == chinese[k]}
    assert untranslated == set()


def test_every_key_in_the_sources_is_in_the_catalogue() -> None:
    """Keys written out in Python, in the template and in the script; and every word of records."""
    core = Path(str(__import__("doorbuster").__file__)).parent
    used = {f"outcome.{name}" for name in OUTCOMES} | {f"reply.{name}" for name in REPLIES}
    start = "|".join(sorted({key.partition(".")[0] for key in catalogue("en")}))
    pattern = re.compile(rf"""["'(@]((?:{start})\.[a-z0-9_.]*[a-z0-9_])["']""")
    for path in core.rglob("*"):
        if path.suffix in (".py", ".html", ".js") and "vendor" not in path.parts:
            used |= set(pattern.findall(path.read_text("utf-8")))
    known = set(catalogue("en"))
    assert {key for key in used if key not in known and not _is_start_of(key, known)} == set()


def _is_start_of(key: str, known: set[str]) -> bool:
    """`check.validity` is completed at run time; file names such as `page.css` are no keys."""
    is_file = key.endswith((".json", ".css", ".html"))
    return is_file or any(other.startswith(f"{key}.") for other in known)


def test_every_row_of_a_verdict_can_be_said() -> None:
    """Every status that a check can take has its sentence; names have one each."""
    known = catalogue("en")
    names = {key.removesuffix(".name") for key in known if key.endswith(".name")}
    for name in names:
        if name.startswith("check.validity."):
            assert {f"{name}.pass", f"{name}.invalid"} <= set(known)
        else:
            assert {f"{name}.pass", f"{name}.fail"} <= set(known)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (5e-8, "0.0500 µs"), (0.0123, "12.3 ms"), (0.9999, "1000 ms"), (8.4, "8.40 s"),
     (750, "12.5 min"), (36_000, "10.0 h"), (float("nan"), "–"), (float("inf"), "∞")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_counts() -> None:
    """99.97 % is not 100 %, and a small share is not 0 %."""
    shares = (0, 1, 0.5, 0.9997, 0.0004, 0.123456)
    assert [percent(share) for share in shares] == [
        "0 %", "100 %", "50.0 %", "99.970 %", "0.040 %", "12.3 %",
    ]  # fmt: skip
    assert [count(n) for n in (1234, 12.5, float("nan"))] == ["1,234", "12.5", "–"]
    assert money(10_594_000, "CNY") == "105,940 CNY"


# --- command ---


def test_command_draws_again(hand_made: Builder, tmp_path: Path) -> None:
    folder = hand_made().write("20260101T000000Z-live-7")
    output = tmp_path / "again.html"
    results = str(folder.path.parents[1])
    words = ["report", "latest", "--results", results, "--output", str(output)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == exit_codes.PASS, result.output
    assert result.stdout.strip() == str(output)
    assert "<!doctype html>" in output.read_text("utf-8")[:200]


def test_command_refuses_runs_of_different_plans(hand_made: Builder, tmp_path: Path) -> None:
    """As `compare` does: exit 2 and what differs, unless the user wants it all the same."""
    other = hand_made()
    other.run.update(plan_hash="b" * 64, load_factor=2.0)
    paths = [str(hand_made().write("one").path), "--with", str(other.write("two").path)]
    words = ["report", *paths, "--output", str(tmp_path / "both.html")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == exit_codes.USAGE
    assert "load_factor differs (got 2.0, and 1.0" in refused.stderr
    assert "--allow-different" in refused.stderr
    assert not (tmp_path / "both.html").exists()
    assert CliRunner().invoke(main, [*words, "--allow-different"]).exit_code == exit_codes.PASS


def test_command_cannot_write_there(hand_made: Builder, tmp_path: Path) -> None:
    folder = hand_made().write()
    output = str(tmp_path / "missing" / "report.html")
    result = CliRunner().invoke(main, ["report", str(folder.path), "--output", output])
    assert result.exit_code == exit_codes.USAGE
    assert "cannot be written" in result.stderr
