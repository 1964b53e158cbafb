"""The checks between parts of a scenario that are right in themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from doorbuster.documents import Check, Place, allowed_names, suggestion
from doorbuster.scenario.bundles import bundle_mistakes
from doorbuster.scenario.crowd import CART_FIELDS, Crowd, Persona
from doorbuster.scenario.durations import format_duration
from doorbuster.scenario.lock_points import lock_point_mistakes
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.objectives import RefundTime
from doorbuster.scenario.refunds import BROKEN_PAYOUTS, Refund
from doorbuster.scenario.shapes import Series
from doorbuster.scenario.shop import (
    BROKEN_LATE_PAYMENTS,
    BROKEN_REDEEMS,
    BROKEN_STRATEGIES,
    BROKEN_UNANSWERED_CHARGES,
    Coupon,
    Shop,
)
from doorbuster.scenario.warehouses import warehouse_mistakes

_SAME_TIME_S = 1e-9
_SAME_LENGTH_FRACTION = 1e-6


class Contradictions:
    """Collects what is wrong between the parts, as (place, sentence)."""

    def __init__(self) -> None:
        self.found: list[tuple[Place, str]] = []

    def add(self, place: Place, what: str) -> None:
        """Note one mistake at its place."""
        self.found.append((place, what))

    def known(self, place: Place, name: str, names: Iterable[str], what: str) -> None:
        """Note a name that nobody defines, with the nearest one that somebody does."""
        names = list(names)
        if name not in names:
            hint = suggestion(name, names)
            self.add(place, f"unknown {what} (got {name!r}){allowed_names(names)}{hint}")

    def unique(self, place: Place, field: str, names: list[str], what: str) -> None:
        """Note every name that stands twice in a list."""
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                self.add((*place, index, field), f"{what} {name!r} stands twice; rename one")
            seen.add(name)


def _shop(scenario: Scenario, found: Contradictions) -> None:
    found.unique(("shop", "items"), "sku", scenario.skus, "sku")
    shop = scenario.shop
    if shop.strategy in BROKEN_STRATEGIES and shop.late_payment != "hold":
        what = (
            f"{shop.late_payment!r} needs a correct strategy (got {shop.strategy!r}, which is "
            "broken in a way of its own); allowed 'hold'; leave late_payment out or choose "
            "another strategy"
        )
        found.add(("shop", "late_payment"), what)
    _one_way_to_be_broken(scenario, found)
    found.found.extend(lock_point_mistakes(shop))
    found.found.extend(bundle_mistakes(shop))
    found.found.extend(warehouse_mistakes(shop))
    if shop.coupon is not None:
        _coupon(shop, shop.coupon, found)
    if shop.refund is not None:
        _refund(shop, shop.refund, found)


def _only_with_a_correct_strategy(shop: Shop, part: str, found: Contradictions) -> None:
    if shop.strategy in BROKEN_STRATEGIES:
        what = (
            f"needs a correct strategy (got {shop.strategy!r}, which is broken in a way of its "
            f"own); leave the {part} out or choose another strategy"
        )
        found.add(("shop", part), what)


def _refund(shop: Shop, refund: Refund, found: Contradictions) -> None:
    """A sold order is one charge, and money that is kept wrongly is all that is broken."""
    _only_with_a_correct_strategy(shop, "refund", found)
    if shop.unanswered_charge in BROKEN_UNANSWERED_CHARGES:
        what = (
            f"needs unanswered_charge 'wait' (got {shop.unanswered_charge!r}, which may charge an "
            "order twice); leave one of the two out"
        )
        found.add(("shop", "refund"), what)
    if refund.payout not in BROKEN_PAYOUTS:
        return
    redeem = shop.coupon.redeem if shop.coupon is not None else None
    for value, broken in (
        (shop.late_payment, BROKEN_LATE_PAYMENTS),
        (redeem, BROKEN_REDEEMS),
    ):
        if value in broken:
            what = (
                f"{refund.payout!r} needs a shop where nothing else is broken (got {value!r}); "
                "allowed 'retry'; leave one of the two out"
            )
            found.add(("shop", "refund", "payout"), what)


def _coupon(shop: Shop, coupon: Coupon, found: Contradictions) -> None:
    """No order costs less than nothing, and a coupon counted wrongly is all that is broken."""
    cheapest = min(shop.items, key=lambda item: item.price)
    if coupon.off > cheapest.price:
        what = (
            f"more than {cheapest.sku!r} costs (got {coupon.off}); allowed {cheapest.price} at "
            "most; lower it or raise that price"
        )
        found.add(("shop", "coupon", "off"), what)
    _only_with_a_correct_strategy(shop, "coupon", found)
    if coupon.redeem not in BROKEN_REDEEMS:
        return
    for field, broken in (
        ("late_payment", BROKEN_LATE_PAYMENTS),
        ("unanswered_charge", BROKEN_UNANSWERED_CHARGES),
    ):
        value = getattr(shop, field)
        if value in broken:
            what = (
                f"{coupon.redeem!r} needs a correct {field} (got {value!r}, which is broken in a "
                "way of its own); allowed 'conditional_update'; leave one of the two out"
            )
            found.add(("shop", "coupon", "redeem"), what)


def _one_way_to_be_broken(scenario: Scenario, found: Contradictions) -> None:
    """A second charge is understood where payments hold their locks and nothing else is broken."""
    shop = scenario.shop
    if shop.unanswered_charge not in BROKEN_UNANSWERED_CHARGES:
        return
    place: Place = ("shop", "unanswered_charge")
    if shop.strategy in BROKEN_STRATEGIES:
        what = (
            f"{shop.unanswered_charge!r} needs a correct strategy (got {shop.strategy!r}, which "
            "is broken in a way of its own); allowed 'wait'; leave unanswered_charge out or choose "
            "another strategy"
        )
        found.add(place, what)
    elif shop.late_payment != "hold":
        what = (
            f"{shop.unanswered_charge!r} needs late_payment 'hold' (got {shop.late_payment!r}); "
            "allowed 'wait'; leave one of the two out"
        )
        found.add(place, what)
    elif scenario.faults:
        what = (
            f"{shop.unanswered_charge!r} needs a sale without faults (got {len(scenario.faults)}), "
            "so that one thing is broken at a time; allowed 'wait'; leave one of the two out"
        )
        found.add(place, what)


def _payments(scenario: Scenario, found: Contradictions) -> None:
    place: Place = ("payments", "channels")
    found.unique(place, "name", scenario.channel_names, "channel")
    if not sum(channel.share for channel in scenario.payments.channels):
        found.add(place, "no channel has a share; give one of them a share above 0")
    for index, channel in enumerate(scenario.payments.channels):
        if channel.failover_to == channel.name:
            what = f"{channel.name!r} cannot take over from itself; name another channel"
            found.add((*place, index, "failover_to"), what)
        elif channel.failover_to is not None:
            at: Place = (*place, index, "failover_to")
            found.known(at, channel.failover_to, scenario.channel_names, "channel")


def _service(scenario: Scenario, found: Contradictions) -> None:
    service = scenario.service
    names = [station.name for station in service.stations]
    found.unique(("service", "stations"), "name", names, "station")
    for step in ("browse", "reserve", "pay", "poll", "cancel", "refund", "cart"):
        for index, passage in enumerate(getattr(service, step) or ()):
            found.known(("service", step, index, "station"), passage.station, names, "station")


def _faults(scenario: Scenario, found: Contradictions) -> None:
    """Their stations exist, and no two faults of one kind overlap."""
    stations = [station.name for station in scenario.service.stations]
    over_s: dict[str, float] = {}
    for index, fault in sorted(enumerate(scenario.faults), key=lambda pair: pair[1].start):
        place: Place = ("faults", index)
        station = getattr(fault, "station", None)
        if station is not None:
            found.known((*place, "station"), station, stations, "station")
        before_s = over_s.get(fault.kind, fault.start)
        if fault.start < before_s - _SAME_TIME_S:
            at, until = format_duration(fault.start), format_duration(before_s)
            what = (
                f"a {fault.kind} begins at {at}, before the one that ends at {until} is over; "
                f"start it at {until} or shorten the other"
            )
            found.add((*place, "start"), what)
        over_s[fault.kind] = max(before_s, fault.start + fault.duration)


def _crowd(scenario: Scenario, found: Contradictions) -> None:
    crowd = scenario.crowd
    found.unique(("crowd", "phases"), "name", [phase.name for phase in crowd.phases], "phase")
    _phase_order(crowd, found)
    _series_lengths(crowd, found)
    _mixes(crowd, found)
    if not sum(persona.share for persona in crowd.personas.values()):
        what = "no persona has a share; give one of them a share above 0"
        found.add(("crowd", "personas"), what)
    for name, persona in crowd.personas.items():
        retries = persona.retry_same_fraction + persona.retry_other_fraction
        if retries > 1 + _SAME_TIME_S:
            found.add(
                ("crowd", "personas", name, "retry_same_fraction"),
                f"retry_same_fraction and retry_other_fraction add up to {retries:g}; "
                "allowed 1 at most; lower one of them",
            )


def _phase_order(crowd: Crowd, found: Contradictions) -> None:
    by_start = sorted(enumerate(crowd.phases), key=lambda pair: pair[1].start)
    _, before = by_start[0]
    for index, after in by_start[1:]:
        end = before.start + before.duration
        if after.start < end - _SAME_TIME_S:
            at, until = format_duration(after.start), format_duration(end)
            found.add(
                ("crowd", "phases", index, "start"),
                f"phase {after.name!r} starts at {at}, inside {before.name!r}, which ends at "
                f"{until}; start it at {until} or shorten {before.name!r}",
            )
        before = max(before, after, key=lambda phase: phase.start + phase.duration)


def _series_lengths(crowd: Crowd, found: Contradictions) -> None:
    for index, phase in enumerate(crowd.phases):
        shape = phase.shape
        if not isinstance(shape, Series):
            continue
        length = shape.bin * shape.row_count
        if abs(length - phase.duration) > _SAME_LENGTH_FRACTION * length:
            found.add(
                ("crowd", "phases", index, "duration"),
                f"the series has {shape.row_count} rows of {format_duration(shape.bin)}, "
                f"{format_duration(length)} in all (got {format_duration(phase.duration)}); "
                f"write {format_duration(length)}",
            )


def _mixes(crowd: Crowd, found: Contradictions) -> None:
    highest = [float(phase.shape.knots(phase.duration)[:, 1].max()) for phase in crowd.phases]
    if not any(highest):
        found.add(("crowd", "phases"), "nobody comes: every phase has level 0; raise one")
    for index, phase in enumerate(crowd.phases):
        place: Place = ("crowd", "phases", index, "mix")
        for name in phase.mix:
            found.known((*place, name), name, crowd.personas, "persona")
        if phase.mix and not sum(phase.mix.values()):
            found.add(place, "the mix adds up to 0; give one persona a weight above 0")


def _crowd_and_shop(scenario: Scenario, found: Contradictions) -> None:
    for name, persona in scenario.crowd.personas.items():
        place: Place = ("crowd", "personas", name)
        if persona.cancel_fraction and scenario.shop.strategy in BROKEN_STRATEGIES:
            what = (
                f"nobody can cancel at a shop that keeps its stock by {scenario.shop.strategy!r} "
                f"(got {persona.cancel_fraction:g}); leave it out or choose a correct strategy"
            )
            found.add((*place, "cancel_fraction"), what)
        if persona.coupon_fraction and scenario.shop.coupon is None:
            what = (
                f"the shop has no coupon to bring (got {persona.coupon_fraction:g}); leave it out "
                "or write shop.coupon"
            )
            found.add((*place, "coupon_fraction"), what)
        if persona.refund_fraction and scenario.shop.refund is None:
            what = (
                f"the shop gives no money back (got {persona.refund_fraction:g}); leave it out or "
                "write shop.refund"
            )
            found.add((*place, "refund_fraction"), what)
        if scenario.shop.lock_point != "cart":
            _no_carts(scenario.shop, persona, place, found)
        for sku in persona.wants:
            found.known((*place, "wants", sku), sku, scenario.skus, "sku")
        if persona.wants and not sum(persona.wants.values()):
            what = "the wants add up to 0; give one sku a weight above 0"
            found.add((*place, "wants"), what)
        limit = _highest_limit(persona, scenario.shop)
        if limit is not None and persona.quantity > limit:
            found.add(
                (*place, "quantity"),
                f"could never buy (got {persona.quantity}); the highest per_account_limit of "
                f"its items is {limit}; raise that limit or lower the quantity",
            )


def _no_carts(shop: Shop, persona: Persona, place: Place, found: Contradictions) -> None:
    for field in CART_FIELDS:
        if field in persona.model_fields_set:
            what = (
                f"nothing is put into a cart where lock_point is {shop.lock_point!r}; leave it out "
                "or write lock_point: cart"
            )
            found.add((*place, field), what)


def _highest_limit(persona: Persona, shop: Shop) -> int | None:
    """The highest purchase limit of the items a persona wants, None if it wants none that exist."""
    limits = {item.sku: item.per_account_limit for item in shop.items}
    wanted = [sku for sku, weight in persona.wants.items() if weight > 0] or list(limits)
    return max((limits[sku] for sku in wanted if sku in limits), default=None)


def _crowd_and_payments(scenario: Scenario, found: Contradictions) -> None:
    for name, persona in scenario.crowd.personas.items():
        place: Place = ("crowd", "personas", name, "channels")
        for channel in persona.channels:
            found.known((*place, channel), channel, scenario.channel_names, "channel")
        if persona.channels and not sum(persona.channels.values()):
            found.add(place, "the channels add up to 0; give one channel a weight above 0")


def _objectives(scenario: Scenario, found: Contradictions) -> None:
    names = [objective.name for objective in scenario.objectives]
    found.unique(("objectives",), "name", names, "objective")


def _objectives_and_crowd(scenario: Scenario, found: Contradictions) -> None:
    phases = [phase.name for phase in scenario.crowd.phases]
    for index, objective in enumerate(scenario.objectives):
        place: Place = ("objectives", index)
        if objective.phase is not None:
            found.known((*place, "phase"), objective.phase, phases, "phase")
        persona = getattr(objective, "persona", None)
        if persona is not None:
            found.known((*place, "persona"), persona, scenario.persona_names, "persona")


def _objectives_and_shop(scenario: Scenario, found: Contradictions) -> None:
    for index, objective in enumerate(scenario.objectives):
        if isinstance(objective, RefundTime) and scenario.shop.refund is None:
            what = "the shop gives no money back; leave it out or write shop.refund"
            found.add(("objectives", index, "kind"), what)
        sku = getattr(objective, "sku", None)
        if sku is not None:
            found.known(("objectives", index, "sku"), sku, scenario.skus, "sku")
        if any(item.sku == sku and item.bundle is not None for item in scenario.shop.items):
            what = f"a bundle has no stock that could sell (got {sku!r}); name one of its items"
            found.add(("objectives", index, "sku"), what)


def _check(run: Callable[[Scenario, Contradictions], None], *needs: str) -> Check[Scenario]:
    def collected(scenario: Scenario) -> list[tuple[Place, str]]:
        found = Contradictions()
        run(scenario, found)
        return found.found

    return Check(frozenset(needs), collected)


CHECKS = (
    _check(_shop, "shop"),
    _check(_payments, "payments"),
    _check(_service, "service"),
    _check(_faults, "faults", "service"),
    _check(_crowd, "crowd"),
    _check(_objectives, "objectives"),
    _check(_crowd_and_shop, "crowd", "shop"),
    _check(_crowd_and_payments, "crowd", "payments"),
    _check(_objectives_and_crowd, "objectives", "crowd"),
    _check(_objectives_and_shop, "objectives", "shop"),
)
"""Every check with the parts that it needs to be valid."""


def cross_check(scenario: Scenario) -> list[tuple[Place, str]]:
    """Every contradiction between parts of a scenario, as (place, sentence)."""
    return [found for check in CHECKS for found in check.run(scenario)]
