"""The payment provider emulator: its decisions, its books, its journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from doorbuster.provider import provider_answer, provider_of
from doorbuster.scenario import Scenario
from doorbuster.scenario.payments import Payments
from doorbuster_shop.provider.app import provider_app
from doorbuster_shop.provider.charges import Books, Demand, KeyReusedError
from doorbuster_shop.provider.journal import Journal

CHANNELS: list[dict[str, Any]] = [
    {"name": "quick", "share": 1, "latency": "0s", "decline_fraction": 0, "late_fraction": 0},
    {"name": "moody", "share": 1, "latency": {"kind": "exponential", "mean": "2s"},
     "decline_fraction": 0.5, "late_fraction": 0.3, "late_by": "30s"},
]  # fmt: skip
Build = Callable[..., Scenario]


@pytest.fixture(scope="module")
def scenario(small_scenario: Build) -> Scenario:
    return small_scenario(payments={"channels": CHANNELS})


@pytest.fixture
def books(scenario: Scenario) -> Books:
    return Books(provider_of(scenario.payments, 5), ("quick", "moody"))


def demand(key: str, *, channel: str = "quick", means: str = "m", reference: str = "r") -> Demand:
    return Demand(key, channel, means, 100, reference)


@given(visitor=st.integers(0, 10**17), attempt=st.integers(0, 99), now_s=st.floats(0, 1e10))
def test_test_means_name_the_draw(visitor: int, attempt: int, now_s: float) -> None:
    """`test-<visitor>-<attempt>` gets the very answer that the simulation computes."""
    provider = provider_of(Payments.model_validate({"channels": CHANNELS}), 5)
    books = Books(provider, ("quick", "moody"))
    means = f"test-{visitor}-{attempt}"
    charge, is_new = books.charge(demand("k", channel="moody", means=means), now_s)
    latency_s, approved = provider_answer(provider, visitor, 1, attempt)
    assert is_new
    assert charge.approved == approved
    assert charge.decides_at_s == now_s + latency_s


def test_other_means_are_hashed_and_their_attempts_counted(books: Books) -> None:
    """A card number gets its own draws, the second attempt another one than the first."""
    decided = {
        (means, attempt): books.charge(
            demand(f"{means}/{attempt}", channel="moody", means=means), 0.0
        )[0].decides_at_s
        for means in ("4111 1111", "4111 1112")
        for attempt in range(3)
    }
    assert len(set(decided.values())) == 6


def test_a_key_makes_one_charge(books: Books) -> None:
    """Repeating a demand gives the same charge; another demand under its key is refused."""
    first, is_new = books.charge(demand("k"), 1.0)
    again, is_new_again = books.charge(demand("k"), 2.0)
    assert (is_new, is_new_again) == (True, False)
    assert again is first
    with pytest.raises(KeyReusedError):
        books.charge(demand("k", reference="another"), 3.0)
    assert books.totals(9.0).captured_count == 1


def test_the_ledger_counts_what_is_decided_by_now(books: Books) -> None:
    """Totals are a function of the time; double captures are found by their reference."""
    books.charge(demand("a", reference="order 1"), 0.0)
    twin, _ = books.charge(demand("b", reference="order 1"), 0.0)
    slow, _ = books.charge(demand("c", channel="moody", means="test-1-0"), 0.0)
    before, after = slow.decides_at_s - 0.001, slow.decides_at_s
    assert books.totals(before).processing_count == 1
    assert books.totals(after).processing_count == 0
    assert books.totals(before).references_captured_twice == 1
    assert books.refund(twin.id, before)
    assert books.refund(twin.id, before)
    assert not books.refund(slow.id, before)
    totals = books.totals(before)
    assert (totals.captured_count, totals.captured_cents) == (2, 200)
    assert (totals.refunded_count, totals.refunded_cents) == (1, 100)
    assert totals.references_captured_twice == 0
    assert [charge.reference for charge in books.captures(before)] == ["order 1"]


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    """A writer that died in the middle of a line costs that line and no other."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append({"charge": 1})
    journal.append({"charge": 2})
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"charge": 3, "mea')
    journal = Journal(path)
    journal.append({"charge": 4})
    assert [entry["charge"] for entry in journal.entries()] == [1, 2, 4]
    journal.clear()
    journal.append({"charge": 5})
    journal.close()
    assert path.read_bytes() == b'{"charge":5}\n'


BODY = {"channel": "quick", "means": "m", "amount_cents": 100, "reference": "order 1"}


def _charge(http: TestClient, key: str, **changes: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    reply: httpx.Response = http.post("/charges", json={**BODY, **changes}, headers=headers)
    return reply


def test_a_restarted_provider_knows_its_books(scenario: Scenario, tmp_path: Path) -> None:
    """Charges, refunds and the seed of a reset come back from the journal."""
    path = tmp_path / "journal.jsonl"
    with TestClient(provider_app(scenario.payments, 5, path, time.time)) as http:
        _charge(http, "before the reset")
        http.post("/reset", json={"seed": 99})
        charge = _charge(http, "one").json()
        _charge(http, "two", reference="order 2")
        http.post("/refunds", json={"charge_id": charge["charge_id"]})
        before = http.get("/ledger").json()
    with TestClient(provider_app(scenario.payments, 5, path, time.time)) as http:
        assert http.get("/ledger").json() == before
        assert http.get("/charges?idempotency_key=one").json()["status"] == "refunded"
        assert _charge(http, "one").status_code == 200
        assert http.get("/ledger").json()["captured_count"] == 2
        assert http.get("/captures").json() == {"captures": [["order 2", 100]]}
    assert path.read_text().startswith('{"seed":99}')


def test_the_provider_refuses_with_reasons(scenario: Scenario) -> None:
    """Each mistake of a shop gets its code."""
    with TestClient(provider_app(scenario.payments, 5, None, time.time)) as http:
        replies = [
            http.post("/charges", json=BODY),
            _charge(http, "k", channel="shells"),
            _charge(http, "k", amount_cents=-1),
            _charge(http, "k"),
            _charge(http, "k", means="other"),
            http.get("/charges/none"),
            http.post("/refunds", json={"charge_id": "none"}),
        ]
    assert [(reply.status_code, reply.json().get("code", "")) for reply in replies] == [
        (400, "idempotency_key_missing"),
        (422, "unknown_channel"),
        (422, "malformed"),
        (200, ""),
        (422, "idempotency_key_reused"),
        (404, "unknown_charge"),
        (404, "unknown_charge"),
    ]
