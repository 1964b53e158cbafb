"""A forecast in sentences, as `doorbuster check` tells it."""

from __future__ import annotations

from collections.abc import Iterator

from doorbuster.forecast.forecast import ARRIVALS_PER_CORE, DAY_S, Forecast, ItemForecast

MAX_LISTED = 12
"""Items, stations or defaults that are told one by one."""


def sentences(forecast: Forecast, *, visitors_drawn: int | None, seed: int) -> list[str]:
    """The forecast as lines of text under headings.

    visitors_drawn: visitors of the plan under that seed; None if it was too large to draw.
    """
    return [
        *_plan(forecast, visitors_drawn, seed),
        "",
        *_demand(forecast),
        "",
        *_load(forecast),
        *_assumed(forecast),
        *_doubts(forecast),
    ]


_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SECONDS_ALONE_S = 120


def _time(seconds: float) -> str:
    """A time for reading, two units at most: `855 ms`, `3.6 s`, `21 min 10 s`, `3 d 4 h`."""
    sign, length = ("-" if seconds < 0 else ""), abs(seconds)
    if 0 < length < 1:
        return f"{sign}{length * 1e3:.0f} ms"
    if length < _SECONDS_ALONE_S:
        return f"{sign}{length:.1f} s".replace(".0 s", " s")
    whole = round(length)
    first = next(index for index, (_, size) in enumerate(_UNITS) if whole >= size)
    words = []
    for unit, size in _UNITS[first : first + 2]:
        if whole >= size:
            words.append(f"{whole // size} {unit}")
        whole %= size
    return sign + " ".join(words)


def _count(number: float) -> str:
    """A count for reading: `1,264`, `14.5 million`."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,.0f}" if number >= 10 or number == 0 else f"{number:.2g}"  # noqa: PLR2004


def _share(fraction: float) -> str:
    return "under 1 %" if 0 < fraction < 0.01 else f"{fraction:.0%}".replace("%", " %")  # noqa: PLR2004


def _plan(forecast: Forecast, drawn: int | None, seed: int) -> Iterator[str]:
    yield "The crowd"
    exactly = "" if drawn is None else f"; seed {seed} draws {drawn:,}"
    yield (
        f"  About {_count(forecast.visitors_expected)} visitors come between "
        f"{_time(forecast.start_s)} and {_time(forecast.last_arrival_s)}{exactly}."
    )
    normal = forecast.normal_load_per_s
    yield (
        f"  Load factor {forecast.load_factor:,.4g} on a normal load of {normal:,.4g} a second. "
        f"The peak is {_count(forecast.peak_arrivals_per_s)} arrivals a second at "
        f"{_time(forecast.peak_at_s)}, {forecast.peak_arrivals_per_s / normal:,.3g} times the "
        "normal load."
    )
    yield (
        f"  A whole day at that peak would bring {_count(forecast.peak_arrivals_per_day)} "
        f"visitors; a normal day brings {_count(normal * DAY_S)}."
    )
    shares = [
        f"{_count(persona.visitors)} {persona.name} ({_share(persona.request_fraction)} of the "
        "requests)"
        for persona in forecast.personas[:MAX_LISTED]
    ]
    yield f"  Among them: {', '.join(shares)}."
    yield (
        f"  The sale ends at {_time(forecast.end_s)}. A live run takes "
        f"{_time(forecast.end_s - forecast.start_s)}, at the longest "
        f"{_time(forecast.longest_run_s)}."
    )


def _demand(forecast: Forecast) -> Iterator[str]:
    yield "Demand and stock"
    for item in forecast.items[:MAX_LISTED]:
        yield f"  {item.sku}: {_item(item)}."
    hidden = len(forecast.items) - MAX_LISTED
    if hidden > 0:
        yield f"  and {hidden} more items with less demand."
    if forecast.other_items is not None:
        yield f"  All other items together: {_item(forecast.other_items)}."
    if forecast.lock_point == "payment":
        yield (
            "  Only payments lock units, until the provider has answered: what is reserved and not "
            f"paid stays for sale, and the order lapses after {_time(forecast.lock_time_s)}."
        )
        return
    back = forecast.lock_time_s + forecast.release_sweep_s
    left = max(forecast.end_s - back, 0.0)
    yield (
        f"  A lock lasts {_time(forecast.lock_time_s)} and is swept within "
        f"{_time(forecast.release_sweep_s)}: what is reserved at the opening and not paid can be "
        f"bought again from {_time(back)} on, for {_time(left)} until the end."
    )


def _item(item: ItemForecast) -> str:
    wanted = f"{_count(item.wanted_units)} units wanted, {item.stock_units:,} in stock"
    if item.stock_units:
        wanted += f", {_count(item.wanted_units / item.stock_units)} for each unit"
    if item.sold_out_s is None:
        return f"{wanted}; it does not sell out"
    return f"{wanted}; all reserved about {_time(item.sold_out_s)} after the opening"


def _load(forecast: Forecast) -> Iterator[str]:
    requests = forecast.requests
    yield "The load"
    steps = ", ".join(f"{_count(rate)} {step}" for step, rate in requests.by_step.items())
    yield (
        f"  The busiest second is at {_time(requests.at_s)} with about {_count(requests.per_s)} "
        f"requests ({steps}); {_count(requests.total)} in the whole sale."
    )
    yield (
        f"  About {_count(requests.in_flight)} requests are then in flight if nobody queues "
        "(Little's law: rate times time in the system)."
    )
    for station in forecast.stations[:MAX_LISTED]:
        item = f" of {station.sku}" if station.sku else ""
        servers = "1 server" if station.server_count == 1 else f"{station.server_count:,} servers"
        yield (
            f"  Station {station.name}{item} ({servers}) is "
            f"{_share(station.utilisation)} utilised in its busiest second, at "
            f"{_time(station.busiest_at_s)}."
        )
    count = forecast.load_workers
    workers = "1 load worker" if count == 1 else f"{count:,} load workers"
    yield (
        f"  A live run needs {workers}: about {ARRIVALS_PER_CORE:g} arrivals a second a core, "
        "a rule of thumb."
    )


def _assumed(forecast: Forecast) -> Iterator[str]:
    if not forecast.assumptions:
        return
    yield ""
    yield "Left at a default for which there is no published source"
    for assumption in forecast.assumptions[:MAX_LISTED]:
        where = ", ".join(path or "the scenario" for path in assumption.left_out_in[:MAX_LISTED])
        yield f"  {assumption.field}: {assumption.default} (in {where})"
    hidden = len(forecast.assumptions) - MAX_LISTED
    if hidden > 0:
        yield f"  and {hidden} more; --json lists them all"


def _doubts(forecast: Forecast) -> Iterator[str]:
    if not forecast.doubts:
        return
    yield ""
    count = len(forecast.doubts)
    yield "One thing is suspicious" if count == 1 else f"{count} things are suspicious"
    for doubt in forecast.doubts:
        yield f"  {doubt.path}: {doubt.sentence} [{doubt.code}]"
