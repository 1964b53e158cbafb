"""The whole study over systems whose bottleneck is known: the search logic without a simulation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import sin
from typing import Any

import pytest

from doorbuster import exit_codes
from doorbuster.capacity.bottleneck import Relief, ranked, suspects_of
from doorbuster.capacity.findings import Capacity
from doorbuster.capacity.search import Bracket
from doorbuster.capacity.sentences import terminal_lines
from doorbuster.capacity.summary import to_json
from doorbuster.scenario import Scenario
from doorbuster.scenario.distributions import mean_of

Fake = Any
Carries = Callable[[Scenario, str, float], float]


def named(found: Capacity) -> list[tuple[str, str]]:
    return [(relief.suspect.cause, relief.suspect.resource) for relief in found.causes]


@pytest.mark.parametrize(("weak", "strong"), [("web", "db"), ("db", "web")])
def test_the_weaker_station_is_named_and_one_more_server_priced(
    fake: Fake, two_stations: Scenario, station_carries: Carries, weak: str, strong: str
) -> None:
    """6 with two servers, so 9 with three and 10 with four, where the other station breaks."""

    def excess(scenario: Scenario, factor: float) -> float:
        loads = station_carries(scenario, weak, 6.0), station_carries(scenario, strong, 10.0)
        return factor / min(loads) - 1

    found = fake(two_stations, excess).study()
    assert found.bracket.held <= 6.0 < found.bracket.broke <= found.bracket.held * 1.021
    assert found.sure == pytest.approx((6.0, 6.0), rel=0.03)
    assert named(found) == [("servers", weak)]
    assert found.causes[0].bracket.held == pytest.approx(10.0, rel=0.03)
    offers = {offer.lever.id: offer for offer in found.offers}
    assert offers[f"{weak}.servers"].bracket.held == pytest.approx(9.0, rel=0.03)
    assert offers[f"{weak}.servers"].gained == pytest.approx(3.0, rel=0.05)
    assert offers[f"{strong}.servers"].gained == 0.0
    assert found.first_to_break[0].objective.name == "o"
    helping = next(line for line in terminal_lines(found) if line.startswith("With one more"))
    assert re.match(rf"With one more server at {weak} \(2 → 3\) it would carry [89]", helping)
    assert (found.status, found.exit_code) == ("within", exit_codes.PASS)


def test_two_stations_that_bind_at_once_are_both_named(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    """Neither helps alone; both together double the load. The frontier buys both."""

    def excess(scenario: Scenario, factor: float) -> float:
        loads = [station_carries(scenario, name, 6.0) for name in ("web", "db")]
        return factor / min(loads) - 1

    found = fake(two_stations, excess).study()
    assert sorted(named(found)) == [("servers", "db"), ("servers", "web")]
    assert found.together is not None
    assert found.together.held == pytest.approx(12.0, rel=0.03)
    assert all(offer.gained == 0 for offer in found.offers)
    text = terminal_lines(found)
    assert any(line.startswith("Resources that bind at once: 2.") for line in text)


def test_two_stations_that_bind_nearly_at_once_are_both_named(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    """Relief of the weaker moves the break by 2 %, less than the search is sure of."""

    def excess(scenario: Scenario, factor: float) -> float:
        loads = station_carries(scenario, "web", 6.0), station_carries(scenario, "db", 6.12)
        return factor / min(loads) - 1

    found = fake(two_stations, excess).study()
    assert sorted(named(found)) == [("servers", "db"), ("servers", "web")]
    assert all(offer.gained == 0 for offer in found.offers)


def test_of_two_that_help_the_stronger_is_named_and_of_two_alike_the_plainer(
    two_stations: Scenario,
) -> None:
    suspects = {(s.cause, s.resource): s for s in suspects_of(two_stations)}
    before = Bracket(4.0, 4.1)

    def first(servers: float, queue: float) -> str:
        reliefs = [
            Relief(suspects["queue", "web"], Bracket(queue, queue * 1.02), 0.0),
            Relief(suspects["servers", "web"], Bracket(servers, servers * 1.02), 0.0),
        ]
        return ranked(reliefs, before, 0.02)[0].suspect.cause

    assert first(servers=6.0, queue=16.0) == "queue"
    assert first(servers=16.0, queue=6.0) == "servers"
    assert first(servers=8.0, queue=8.1) == "servers"


def test_the_queue_bound_is_named_where_it_alone_refuses(
    fake: Fake, small_scenario: Callable[..., Scenario], two_stations: Scenario
) -> None:
    def excess(scenario: Scenario, factor: float) -> float:
        web = scenario.service.stations[0]
        return factor / min(5 + web.queue_limit, 20 * web.servers) - 1

    change = two_stations.model_dump(mode="json")["objectives"]
    service = {
        "network": "1ms",
        "stations": [{"name": "web", "servers": 2, "queue_limit": 1}],
        **{step: [{"station": "web", "time": "2ms"}] for step in ("browse", "reserve", "pay")},
    }
    found = fake(small_scenario(service=service, objectives=change), excess).study()
    assert named(found) == [("queue", "web")]
    assert found.causes[0].bracket.held == pytest.approx(40, rel=0.03)


def test_a_slow_channel_is_named(fake: Fake, two_stations: Scenario) -> None:
    def excess(scenario: Scenario, factor: float) -> float:
        return factor * mean_of(scenario.payments.channels[0].latency) / 2.0 - 1

    found = fake(two_stations, excess).study(high=512.0)
    assert named(found) == [("channel", "card")]


def test_what_never_breaks_holds_to_the_end_of_the_range(
    fake: Fake, two_stations: Scenario
) -> None:
    system = fake(two_stations, lambda _scenario, _factor: -0.5)
    found = system.study()
    assert (found.bracket.held, found.bracket.broke) == (64.0, None)
    assert found.objectives[0].direction == "never"
    assert not found.reliefs
    assert found.knee_response is None
    assert found.status == "within"
    assert terminal_lines(found)[0].startswith("Holds at every load factor searched, from 1 to 64")
    # The sweep, whose grid holds the target; nothing is asked twice.
    assert len(system.questions) == len(set(system.questions)) == 16


def test_what_is_broken_at_once_and_by_no_resource(fake: Fake, two_stations: Scenario) -> None:
    found = fake(two_stations, lambda _scenario, _factor: 0.5).study()
    assert (found.bracket.held, found.bracket.broke) == (None, 1.0)
    assert found.beyond_resources
    assert not found.causes
    assert (found.status, found.exit_code) == ("beyond", exit_codes.FAILED)
    text = terminal_lines(found)
    assert text[0].startswith("Breaks at every load factor searched, from 1 on")
    assert any(line.startswith("No resource of the shop is to blame") for line in text)


def test_noise_far_below_the_limit_is_no_break(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    """A break at 20 under a wave of 8 %: found within the wave, and the right station named."""

    def excess(scenario: Scenario, factor: float) -> float:
        return factor / station_carries(scenario, "db", 20.0) - 1 + 0.08 * sin(7 * factor)

    found = fake(two_stations, excess, doubt=0.1).study()
    assert found.bracket.held == pytest.approx(20.0, rel=0.1)
    assert found.sure[0] < found.bracket.held
    assert found.sure[1] > found.bracket.broke
    assert named(found) == [("servers", "db")]


def test_what_is_sure_is_searched_as_closely_as_the_break(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    """Nothing is decided within 10 % of the limit: sure up to 18, and from 22 on."""

    def excess(scenario: Scenario, factor: float) -> float:
        return factor / station_carries(scenario, "db", 20.0) - 1

    assert fake(two_stations, excess, doubt=0.1).study().sure == pytest.approx((18, 22), rel=0.02)


def test_a_target_beyond_the_break_fails_and_one_near_it_is_undecided(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    def excess(scenario: Scenario, factor: float) -> float:
        return factor / station_carries(scenario, "web", 6.0) - 1

    assert fake(two_stations, excess).study(target=9.0).exit_code == exit_codes.FAILED
    near = fake(two_stations, excess, doubt=0.1).study(target=5.9)
    assert near.exit_code == exit_codes.INVALID


def test_a_study_is_repeatable(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    def excess(scenario: Scenario, factor: float) -> float:
        return factor / station_carries(scenario, "web", 6.0) - 1

    first, second = (to_json(fake(two_stations, excess).study()) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert "NaN" not in json.dumps(first)


def test_an_interrupt_keeps_what_is_known(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    """Cut after every possible number of trials: never a traceback, never less than before."""

    def excess(scenario: Scenario, factor: float) -> float:
        return factor / station_carries(scenario, "web", 6.0) - 1

    whole = fake(two_stations, excess)
    whole.study()
    known = 0
    for trials in range(len(whole.questions)):
        system = fake(two_stations, excess)
        system.interrupt_after = trials
        found = system.study()
        assert (found.ended, found.exit_code) == ("interrupted", exit_codes.INTERRUPTED)
        assert found.sale_count == 2 * trials
        assert any(line.startswith("Interrupted after") for line in terminal_lines(found))
        content = to_json(found)
        parts = sum(bool(content[name]) for name in ("sweep", "objectives", "causes", "offers"))
        assert parts >= known
        known = parts
    assert known == 4


def test_the_sales_are_limited(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    def excess(scenario: Scenario, factor: float) -> float:
        return factor / station_carries(scenario, "web", 6.0) - 1

    found = fake(two_stations, excess).study(max_sales=60)
    assert found.ended == "sales_spent"
    assert found.sale_count <= 60
    assert found.bracket is not None
    assert any("--max-sales" in line for line in terminal_lines(found))


@pytest.mark.requirement("A079")
def test_the_cheapest_frontier_is_found_by_brute_force_as_well(
    fake: Fake, two_stations: Scenario, station_carries: Carries
) -> None:
    """Servers at other prices: every point of the frontier is the cheapest for what it carries."""

    def loads(web: int, db: int) -> float:
        return min(6.0 * web / 2, 8.0 * db / 2)

    def excess(scenario: Scenario, factor: float) -> float:
        both = station_carries(scenario, "web", 6.0), station_carries(scenario, "db", 8.0)
        return factor / min(both) - 1

    costs = {"web.servers": 3.0, "db.servers": 5.0}
    found = fake(two_stations, excess).study(costs=costs)
    assert len(found.frontier) >= 4
    for point in found.frontier:
        carried = point.bracket.held
        assert carried is not None
        cheapest = min(
            3.0 * (web - 2) + 5.0 * (db - 2)
            for web in range(2, 20)
            for db in range(2, 20)
            if loads(web, db) >= carried
        )
        assert point.cost == cheapest


def test_the_frontier_weighs_cost_and_gives_back_what_became_useless(
    fake: Fake, two_stations: Scenario
) -> None:
    """A web server brings 2 for 1, a database server 14 for 10 and makes the first one useless."""

    def excess(scenario: Scenario, factor: float) -> float:
        web, db = scenario.service.stations
        return factor / (20 if db.servers > 2 else 8 if web.servers > 2 else 6) - 1

    found = fake(two_stations, excess).study(costs={"web.servers": 1.0, "db.servers": 10.0})
    bought = [{lever.id: units for lever, units in p.variant} for p in found.frontier]
    assert bought == [{}, {"web.servers": 1}, {"db.servers": 1}]
    assert [point.cost for point in found.frontier] == [0.0, 1.0, 10.0]
