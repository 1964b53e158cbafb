"""Broken scenario files: each mistake is one sentence at its place, and there is no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from doorbuster.cli import main
from doorbuster.scenario.reading import ScenarioError, read_scenario

BROKEN = Path(__file__).parent / "broken"

# File: line, column (None where the file has no lines), then what the sentence must say.
ONE_MISTAKE: dict[str, tuple[str, list[str]]] = {
    "wrong-type": ("9:22", ["crowd.normal_load_per_s: must be a number", "(got 'five')"]),
    "unknown-key": (
        "5:3",
        ["shop.relaese_sweep: unknown key", "allowed: lock_time,", "mean 'release_sweep'?"],
    ),
    "negative-stock": ("6:29", ["shop.items[0].stock: must be 0 or more (got -20)"]),
    "time-of-day": (
        "16:14",
        ["crowd.phases[1].start: is a time of day", "(got '20:00')", "write the distance"],
    ),
    "duplicate-key": (
        "10:3",
        ["crowd.normal_load_per_s: key stands twice", "first in line 9", "keep one"],
    ),
    "overlapping-phases": (
        "16:14",
        ["phase 'opening' starts at -2s, inside 'warm-up', which ends at 0s", "start it at 0s"],
    ),
    "unknown-sku": (
        "22:27",
        ["unknown sku (got 'headsets')", "allowed: console, headset", "mean 'headset'?"],
    ),
    "impossible-limit": (
        "23:33",
        ["crowd.personas.bot.quantity: could never buy (got 3)", "highest per_account_limit", "2"],
    ),
    "zero-service-time": (
        "31:34",
        ["service.reserve[0].time: a service time must be longer than 0 (got '0ms')"],
    ),
    "missing-lock-time": ("4:3", ["shop.lock_time: is missing; add it", "unpaid reservation"]),
    "unknown-kind": (
        "18:21",
        ["unknown kind (got 'zerohour')", "allowed: constant, ramp,", "did you mean 'zero_hour'?"],
    ),
    "empty": ("1:1", ["is empty; write keys such as version:"]),
    "garbage": ("", ["is no text (byte 0x", "save it as UTF-8"]),
}

MANY = [
    "2:7: name: is no short name (got 'many mistakes')",
    "4:14: shop.lock_time: a duration needs its unit (got 5); write 5s or 5ms",
    "6:29: shop.items[0].stock: must be a whole number (got 20.5)",
    "7:7: shop.items[1].stock: is missing",
    "7:22: shop.items[1].stok: unknown key",
    "10:3: crowd.normal_load_per_s: key stands twice",
    "15:14: crowd.phases[0].shape.to: is missing",
    "19:21: crowd.phases[1].shape.kind: unknown kind (got 'zero-hour')",
    "23:24: crowd.personas.fan.unpaid_fraction: must be a number (got '20%'); write 0.2",
    "25:61: crowd.personas.bot.think_time.median: must be longer than 0 (got '0ms')",
    "29:14: payments.channels[1].name: channel 'card' stands twice",
    "32:28: service.stations[0].servers: must be a whole number (got true)",
    "35:8: service.pay: needs at least one entry",
    "37:45: objectives[0].step: unknown value (got 'brows'); allowed: browse, reserve, pay, poll",
    "37:89: objectives[0].window: the window must end after its start",
]


def test_every_broken_file_is_expected_here() -> None:
    assert {path.stem for path in BROKEN.iterdir()} == {*ONE_MISTAKE, "many-mistakes"}


@pytest.mark.parametrize("name", ONE_MISTAKE)
def test_one_mistake_is_one_sentence_at_its_place(name: str) -> None:
    """Through the command line: exit 2, the sentence on stderr, nothing on stdout."""
    place, parts = ONE_MISTAKE[name]
    path = BROKEN / f"{name}.yaml"
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 2
    assert result.stdout == ""
    sentence, count = result.stderr.splitlines()
    assert sentence.startswith(f"{path}:{place}: " if place else f"{path}: ")
    for part in parts:
        assert part in sentence
    assert count == "1 mistake; nothing was run."


def test_all_mistakes_are_told_at_once() -> None:
    """Wrong values, unknown keys, duplicates and contradictions, in the order of the file."""
    path = BROKEN / "many-mistakes.yaml"
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    found = caught.value.problems
    assert len(found) == len(MANY)
    for sentence, expected in zip(found, MANY, strict=True):
        assert sentence.startswith(f"{path}:{expected}")


def test_no_traceback_reaches_the_user() -> None:
    """In a process of its own, as a user runs it."""
    command = "from doorbuster.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "check", str(BROKEN / "many-mistakes.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"{len(MANY)} mistakes; nothing was run."


GOOD_PARTS = (BROKEN / "unknown-sku.yaml").read_text("utf-8").replace("headsets:", "headset:")

# What is changed in a good file, and what the one sentence must say.
CONTRADICTIONS = {
    "an unknown persona in a mix": (
        (
            "      shape: {kind: ramp, to: 1}",
            "      shape: {kind: ramp, to: 1}\n      mix: {fam: 1}",
        ),
        "crowd.phases[0].mix.fam: unknown persona (got 'fam'); allowed: fan, bot; did you mean",
    ),
    "a mix of nothing": (
        (
            "      shape: {kind: ramp, to: 1}",
            "      shape: {kind: ramp, to: 1}\n      mix: {fan: 0}",
        ),
        "crowd.phases[0].mix: the mix adds up to 0",
    ),
    "an unknown station": (
        ("browse: [{station: web", "browse: [{station: wbe"),
        "service.browse[0].station: unknown station (got 'wbe'); allowed: web; did you mean 'web'?",
    ),
    "an unknown phase": (
        ("at_most: 2s}", "at_most: 2s, phase: openning}"),
        "objectives[0].phase: unknown phase (got 'openning'); allowed: warm-up, opening",
    ),
    "nobody comes": (
        ("kind: ramp, to: 1", "kind: ramp, to: 0"),
        None,
    ),
    "retries of more than everybody": (
        ("share: 0.1,", "share: 0.1, retry_same_fraction: 0.7,"),
        "retry_same_fraction and retry_other_fraction add up to 1.04; allowed 1 at most",
    ),
    "two items of one name": (
        ("sku: headset", "sku: console"),
        "shop.items[1].sku: sku 'console' stands twice; rename one",
    ),
    "wants of nothing": (
        ("{console: 2, headset: 1}", "{console: 0}"),
        "crowd.personas.fan.wants: the wants add up to 0",
    ),
    "unknown channel": (
        ("share: 0.1,", "share: 0.1, channels: {cart: 1},"),
        "crowd.personas.bot.channels.cart: unknown channel (got 'cart'); allowed: card",
    ),
    "a phase inside another": (
        ("      duration: 5s", "      duration: 25s"),
        "crowd.phases[1].start: phase 'opening' starts at 0s, inside 'warm-up', which ends at 20s",
    ),
}


@pytest.mark.parametrize(("change", "expected"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_between_parts_are_found(
    tmp_path: Path, change: tuple[str, str], expected: str | None
) -> None:
    """Each part is right in itself; what does not fit is told at its place, or is no mistake."""
    before, after = change
    assert GOOD_PARTS.count(before) == 1
    path = tmp_path / "sale.yaml"
    path.write_text(GOOD_PARTS.replace(before, after), "utf-8")
    if expected is None:
        read_scenario(path)
        return
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    assert any(expected in problem for problem in caught.value.problems), caught.value.problems


def test_a_contradiction_is_told_although_another_part_is_wrong(tmp_path: Path) -> None:
    """The unknown sku is found in crowd and shop while payments and service are broken."""
    text = (BROKEN / "unknown-sku.yaml").read_text("utf-8")
    path = tmp_path / "sale.yaml"
    path.write_text(text.replace("name: card,", "nam: card,").replace("servers: 2", "servers: 0"))
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    told = "\n".join(caught.value.problems)
    assert "unknown sku (got 'headsets')" in told
    assert "payments.channels[0].nam: unknown key" in told
    assert "service.stations[0].servers: must be 1 or more (got 0)" in told


def test_an_unknown_key_does_not_hide_contradictions_of_its_part(tmp_path: Path) -> None:
    text = (BROKEN / "unknown-sku.yaml").read_text("utf-8")
    path = tmp_path / "sale.yaml"
    path.write_text(text.replace("{kind: ramp, to: 1}", "{kind: ramp, to: 1, slope: 3}"))
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    unknown_key, unknown_sku = caught.value.problems
    assert "crowd.phases[0].shape.slope: unknown key; allowed: kind, from, to" in unknown_key
    assert "unknown sku" in unknown_sku
