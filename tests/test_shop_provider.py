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
from doorbuster_shop.provider.charges import Demand, KeyReusedError
from doorbuster_shop.provider.counter import Counter, Terms
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


class Clock:
    """A clock that the test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def counter_of(payments: Payments, now_s: float = 0.0) -> tuple[Counter, Clock]:
    clock = Clock()
    clock.now_s = now_s
    return Counter(payments, Terms(seed=5, opens_at_s=0.0), clock), clock


def demand(key: str, *, channel: str = "quick", means: str = "m", reference: str = "r") -> Demand:
    return Demand(key, channel, means, 100, reference)


@given(visitor=st.integers(0, 10**17), attempt=st.integers(0, 99), now_s=st.floats(0, 1e10))
def test_test_means_name_the_draw(visitor: int, attempt: int, now_s: float) -> None:
    """`test-<visitor>-<attempt>` gets the very answer that the simulation computes."""
    payments = Payments.model_validate({"channels": CHANNELS})
    counter, _ = counter_of(payments, now_s)
    charge = counter.charge(demand("k", channel="moody", means=f"test-{visitor}-{attempt}"))
    latency_s, approved = provider_answer(provider_of(payments, 5), visitor, 1, attempt)
    assert charge.approved == approved
    assert charge.decides_at_s == now_s + latency_s


def test_other_means_are_hashed_and_their_attempts_counted(scenario: Scenario) -> None:
    """A card number gets its own draws, the second attempt another one than the first."""
    counter, _ = counter_of(scenario.payments)
    decided = {
        (means, attempt): counter.charge(
            demand(f"{means}/{attempt}", channel="moody", means=means)
        ).decides_at_s
        for means in ("4111 1111", "4111 1112")
        for attempt in range(3)
    }
    assert len(set(decided.values())) == 6


def test_a_key_makes_one_charge(scenario: Scenario) -> None:
    """Repeating a demand finds the same charge; another demand under its key is refused."""
    counter, clock = counter_of(scenario.payments)
    assert counter.books.known(demand("k")) is None
    first = counter.charge(demand("k"))
    assert counter.books.known(demand("k")) is first
    with pytest.raises(KeyReusedError):
        counter.books.known(demand("k", reference="another"))
    assert counter.books.totals(clock()).captured_count == 1


def test_the_ledger_counts_what_is_decided_by_now(scenario: Scenario) -> None:
    """Totals are a function of the time; double captures are found by their reference."""
    counter, clock = counter_of(scenario.payments)
    books = counter.books
    counter.charge(demand("a", reference="order 1"))
    twin = counter.charge(demand("b", reference="order 1"))
    slow = counter.charge(demand("c", channel="moody", means="test-1-0"))
    clock.now_s = before = slow.decides_at_s - 0.001
    assert books.totals(before).processing_count == 1
    assert books.totals(slow.decides_at_s).processing_count == 0
    assert books.totals(before).references_captured_twice == 1
    assert counter.refund(books.charges[twin.id]) is not None
    assert counter.refund(books.charges[twin.id]) is not None
    assert counter.refund(slow) is None
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
    with TestClient(provider_app(scenario.payments, Terms(5, 0.0, path), time.time)) as http:
        _charge(http, "before the reset")
        http.post("/reset", json={"seed": 99})
        charge = _charge(http, "one").json()
        _charge(http, "two", reference="order 2")
        http.post("/refunds", json={"charge_id": charge["charge_id"]})
        before = http.get("/ledger").json()
        http.post("/charges/close", json={"idempotency_key": "never"})
    with TestClient(provider_app(scenario.payments, Terms(5, 0.0, path), time.time)) as http:
        after = http.get("/ledger").json()
        assert {**after, "now_s": 0} == {**before, "now_s": 0}
        assert _charge(http, "never").json()["code"] == "closed"
        assert http.get("/charges?idempotency_key=one").json()["status"] == "refunded"
        assert _charge(http, "one").status_code == 200
        assert http.get("/ledger").json()["captured_count"] == 2
        assert http.get("/captures").json() == {"captures": [["order 2", 100]]}
    assert path.read_text().startswith('{"seed":99,"opens_at_s":0.0}')


def test_the_provider_refuses_with_reasons(scenario: Scenario) -> None:
    """Each mistake of a shop gets its code."""
    with TestClient(provider_app(scenario.payments, Terms(5, 0.0), time.time)) as http:
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
