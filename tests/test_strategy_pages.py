"""docs/strategies/: a page a strategy, which tells of its sale what the simulation finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from tests.test_detectors_keep_still import books
from tests.test_failure_scenarios import names_after
from tests.whole_scenarios import Whole

from doorbuster.detectors.failures import DETECTORS, failures_of
from doorbuster.scenario.shop import STRATEGIES, Strategy

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CROWD = ROOT / "scenarios" / "strategies.yaml"
SEED = 1
BYTES_MAX = 40_000


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_page_tells_what_is_found(strategy: Strategy) -> None:
    """The detectors that fire, and the units paid for, in the sale of the picture."""
    page = (DOCS / "strategies" / f"{strategy}.md").read_text("utf-8")
    file: dict[str, Any] = YAML(typ="safe", pure=True).load(CROWD.read_text("utf-8"))
    file["shop"]["strategy"] = strategy
    sale = books(Whole(file, SEED))
    found = {name for name, finding in failures_of(sale).items() if finding.count}
    assert found == names_after("Found in this sale", page)
    paid = int((~np.isnan(sale.orders.sold_s)).sum())
    told = re.search(r"(\d+) (?:units )?are paid", " ".join(page.split()))
    assert told
    assert int(told[1]) == paid


def test_every_page_is_there_and_listed() -> None:
    for index, folder, names in (
        ("failure-modes.md", "failures", DETECTORS),
        ("strategies.md", "strategies", STRATEGIES),
    ):
        pages = {path.stem for path in (DOCS / folder).glob("*.md")}
        assert pages == set(names)
        text = (DOCS / index).read_text("utf-8")
        assert [name for name in names if f"({folder}/{name}.md)" not in text] == []


def test_links_and_pictures_exist() -> None:
    """What the pages link to is there, every picture is shown, and none is large."""
    shown = set()
    for page in (*(DOCS / "failures").glob("*.md"), *(DOCS / "strategies").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            path = (page.parent / target).resolve()
            assert path.exists(), (page.name, target)
            shown.add(path)
    pictures = set((DOCS / "pictures").glob("*.svg"))
    assert pictures <= shown
    assert all(picture.stat().st_size <= BYTES_MAX for picture in pictures)
