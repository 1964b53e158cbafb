"""The provider's channels: declines apart, load, timeouts, rate limits, outages."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers import BODY, CARD, charge, found, provider_at

from doorbuster.provider import provider_answer, provider_of
from doorbuster.scenario.payments import Channel, Payments
from doorbuster_shop.provider.decisions import Attempt, decide, technical_fraction
from doorbuster_shop.provider.door import Closed, Door

live = pytest.mark.live
SURGE = {"capacity_per_s": 100, "technical_factor": 3}


def channel_of(**traits: Any) -> Channel:
    return Channel.model_validate(CARD | traits)


def test_technical_declines_rise_in_proportion_to_the_load() -> None:
    """At capacity the factor, at seven times the capacity the 12 % of a bank's worst surge."""
    channel = channel_of(decline_fraction=0.048, technical_share=1 / 6, surge=SURGE)
    shares = [technical_fraction(channel, load) for load in (0, 50, 100, 700, 1e6)]
    assert shares == pytest.approx([0.008, 0.016, 0.024, 0.12, 1.0])
    assert technical_fraction(channel_of(decline_fraction=0.5, technical_share=0.2), 1e6) == 0.1


@given(visitor=st.integers(0, 10**15), load=st.floats(0, 1e4), more=st.floats(0, 1e4))
def test_load_only_adds_technical_declines(visitor: int, load: float, more: float) -> None:
    """Without load the draw is the simulation's; more load never rescues a payment."""
    payments = Payments.model_validate({"channels": [CARD | {"decline_fraction": 0.4}]})
    provider = provider_of(payments, 5)
    channel = channel_of(decline_fraction=0.4, technical_share=0.5, surge=SURGE)
    attempt = Attempt(visitor, 0)
    at_rest = decide(provider, channel, 0, attempt, 0.0)
    low, high = (decide(provider, channel, 0, attempt, x) for x in (load, load + more))
    assert at_rest.approved == provider_answer(provider, visitor, 0, 0)[1]
    assert at_rest.approved >= low.approved >= high.approved
    assert all(d.approved == (d.decline_kind == "") for d in (at_rest, low, high))
    if at_rest.decline_kind:  # What was declined without load is declined for the same reason.
        assert low.decline_kind == high.decline_kind == at_rest.decline_kind
    elif not high.approved:
        assert high.decline_kind == "technical"


def test_shares_of_the_draws() -> None:
    """Kinds and timeouts come as often as the scenario says.

    Counts of 20,000 independent draws; each bound is 5 standard deviations, so that a false alarm
    is rarer than one in a million.
    """
    payments = Payments.model_validate({"channels": [CARD | {"decline_fraction": 0.3}]})
    provider, count = provider_of(payments, 5), 20_000
    channel = channel_of(
        decline_fraction=0.3, technical_share=0.25,
        timeouts={"fraction": 0.1, "captured_fraction": 0.6},
    )  # fmt: skip
    made = [decide(provider, channel, 0, Attempt(visitor, 0), 0.0) for visitor in range(count)]
    silent = [d for d in made if not d.is_answered]
    told = [d for d in made if d.is_answered]

    def is_near(seen: int, size: int, share: float) -> bool:
        return abs(seen - size * share) <= 5 * math.sqrt(size * share * (1 - share))

    assert is_near(len(silent), count, 0.1)
    assert is_near(sum(d.approved for d in silent), len(silent), 0.6)
    assert {d.decline_kind for d in silent} == {"", "technical"}
    assert is_near(sum(d.decline_kind == "technical" for d in told), len(told), 0.075)
    assert is_near(sum(d.decline_kind == "business" for d in told), len(told), 0.225)


def test_the_door_counts_a_second_back() -> None:
    """Load and rate limit look at the last second, outages at the sale's clock."""
    outages = [
        {"start": "10s", "duration": "5s"},
        {"start": "12s", "duration": "1s", "answer": "hang"},
    ]
    door = Door(channel_of(rate_limit_per_s=2, outages=outages), opens_at_s=1000.0)
    assert door.full_for_s(1000.0) == 0
    door.enter(1000.0)
    assert door.full_for_s(1000.25) == 0
    door.enter(1000.25)
    assert door.load_per_s(1000.5) == 2
    assert door.full_for_s(1000.5) == 0.5
    assert door.full_for_s(1001.0) == 0
    assert door.load_per_s(1001.0) == 1
    door.enter(1001.0)
    assert door.full_for_s(1001.0) == 0.25
    assert [door.outage(t) for t in (1009.9, 1015.0)] == [None, None]
    assert door.outage(1010.0) == Closed(1015.0, hangs=False)
    assert door.outage(1012.5) == Closed(1015.0, hangs=False)


@live
def test_both_kinds_of_declines_are_told_apart(tmp_path: Path) -> None:
    """402 with a kind, an amount and a sentence; the kinds are those that `decide` draws."""
    traits = {"decline_fraction": 0.8, "technical_share": 0.5}
    provider = provider_of(Payments.model_validate({"channels": [CARD | traits]}), 5)
    with provider_at(tmp_path, traits) as (_, http):
        kinds = []
        for visitor in range(20):
            reply = charge(http, f"k{visitor}", means=f"test-{visitor}-0")
            kinds.append(reply.json().get("decline_kind", ""))
            assert reply.status_code == (402 if kinds[-1] else 200)
    wanted = [decide(provider, channel_of(**traits), 0, Attempt(v, 0), 0.0) for v in range(20)]
    assert kinds == [decision.decline_kind for decision in wanted]
    assert set(kinds) == {"", "technical", "business"}


@live
def test_a_burst_is_declined_for_its_load(tmp_path: Path) -> None:
    """The very payments that pass one by one fail technically when they come at once."""
    traits = {
        "decline_fraction": 0.01, "technical_share": 1.0, "latency": "200ms",
        "surge": {"capacity_per_s": 1, "technical_factor": 3},
    }  # fmt: skip

    async def burst(url: str) -> list[dict[str, Any]]:
        async with aiohttp.ClientSession(url) as session:

            async def pay(visitor: int) -> dict[str, Any]:
                body, headers = (
                    BODY | {"means": f"test-{visitor}-0"},
                    {"Idempotency-Key": f"b{visitor}"},
                )
                async with session.post("/charges", json=body, headers=headers) as reply:
                    told: dict[str, Any] = await reply.json()
                    return told

            return await asyncio.gather(*(pay(visitor) for visitor in range(60)))

    with provider_at(tmp_path, traits) as (child, http):
        told = asyncio.run(burst(child.url))
        declined = [visitor for visitor in range(60) if told[visitor]["status"] == "declined"]
        assert {told[visitor]["decline_kind"] for visitor in declined} == {"technical"}
        # 0.01 (1 + 2 load), 1 at most, summed over loads of 1 to 60 is 36 with a standard deviation
        # of 3: fewer than 20 come less often than once in a million.
        assert len(declined) >= 20
        http.post("/reset", json={})
        alone = charge(http, "alone", means=f"test-{declined[0]}-0")
        assert alone.status_code == 200


@live
def test_an_attempt_without_answer_is_known_to_whoever_asks(tmp_path: Path) -> None:
    """The connection stays silent, the money is taken or not; the same key gets an answer."""
    traits = {"timeouts": {"fraction": 1, "captured_fraction": 0.5}}
    with provider_at(tmp_path, traits) as (_, http):
        seen = set()
        for visitor in range(8):
            with pytest.raises(httpx.ReadTimeout):
                http.post(
                    "/charges",
                    json=BODY | {"means": f"test-{visitor}-0"},
                    headers={"Idempotency-Key": f"k{visitor}"},
                    timeout=0.2,
                )
            asked = found(http, f"k{visitor}")
            again = charge(http, f"k{visitor}", means=f"test-{visitor}-0")
            assert again.json() == asked
            assert again.status_code == (200 if asked["status"] == "captured" else 402)
            seen.add(asked["status"])
        assert seen == {"captured", "declined"}


@live
def test_the_rate_limit_says_when_to_come_back(tmp_path: Path) -> None:
    """429 with Retry-After for new charges; a known key is served; who waits gets in."""
    with provider_at(tmp_path, {"rate_limit_per_s": 3}) as (_, http):
        began_s = time.monotonic()
        replies = [charge(http, f"k{n}") for n in range(5)]
        assert time.monotonic() - began_s < 0.9, "the machine is too busy for this test"
        assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
        assert replies[3].json()["code"] == "rate_limited"
        assert replies[3].headers["retry-after"] == "1"
        assert charge(http, "k0").status_code == 200
        assert found(http, "k3")["code"] == "unknown_charge"
        time.sleep(1)
        assert charge(http, "k3").status_code == 200
        assert http.get("/ledger").json()["captured_count"] == 4


@live
def test_an_outage_on_the_clock_of_the_sale(tmp_path: Path) -> None:
    """Refused or kept waiting during it, served before and after; queries are always answered."""
    wallet = {"name": "wallet", "outages": [{"start": "1s", "duration": "1s", "answer": "hang"}]}
    card = {"outages": [{"start": "1s", "duration": "1s"}]}
    opens_at_s = time.time() + 3600
    with provider_at(tmp_path, card, wallet, opens_at_s=opens_at_s) as (_, http):
        charge_id = charge(http, "before").json()["charge_id"]
        # The clock of the sale is moved so that the outage began half a second ago.
        moved = {"opens_at_s": time.time() - 1.5}
        assert http.post("/reset", json=moved).json()["opens_at_s"] == moved["opens_at_s"]
        assert http.get("/healthz").json() == {"status": "ok", "out": ["card", "wallet"]}
        refused = charge(http, "in")
        assert (refused.status_code, refused.json()["code"]) == (503, "channel_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert found(http, "in")["code"] == "unknown_charge"
        assert http.get(f"/charges/{charge_id}").status_code == 404, "the books were reset"
        hanging = charge(http, "hanging", channel="wallet")
        assert hanging.status_code == 503
        assert time.time() >= moved["opens_at_s"] + 2
        assert http.get("/healthz").json()["out"] == []
        after = charge(http, "in")
        assert after.status_code == 200
        assert charge(http, "hanging", channel="wallet").status_code == 200
