"""Draws the pictures of docs/failures/ and docs/strategies/ from simulated sales.

    make pictures                         all of them, into docs/pictures/
    python docs/pictures.py hot_row       one

Needs matplotlib (docs/pictures.txt) beside Doorbuster. The same sources, the same bytes: each sale
has a fixed seed, and the files hold no date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from picture_money import coupon_overuse, double_charge, paid_and_lost
from picture_panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    RED,
    SKY,
    STEPS_MAX,
    STYLE,
    Floats,
    draw_counts,
    draw_free,
    draw_shown,
    figure,
    finish,
    offenders,
    place_of,
    reserving,
    sale_of,
    steps,
)

from doorbuster.detectors import queue_after_sell_out, stock_drift
from doorbuster.detectors.failures import DETECTORS
from doorbuster.detectors.sale import SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.books import ORDER_STATES, take_books
from doorbuster.measures.columns import STEPS
from doorbuster.scenario.reading import read_scenario
from doorbuster.scenario.shop import STRATEGIES
from doorbuster.vocabulary import FAILED_REPLIES, Reply
from doorbuster_sim.strategies.buckets import BUCKET_COUNT, bucket_with, own_bucket, share

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
BYTES_MAX = 40_000


# --- one function a failure mode ---


def oversell(sale: SaleBooks) -> None:
    """The level falls below zero."""
    until_s = 1.0
    (axes,) = figure()
    draw_free(axes, sale, until_s)
    offences = [o for o in DETECTORS["oversell"](sale).evidence if "at_s" in o]
    at_s, units = (
        [o["at_s"] for o in offences],
        [-o["units_below_zero"] for o in offences],
    )
    axes.plot(at_s, units, "v", color=RED, ms=7, label="order without a unit")
    first = offences[0]
    axes.annotate(
        f"order {first['order_id']} at {first['at_s']:.2f} s:\nthe first without a unit",
        (first["at_s"], -first["units_below_zero"]),
        (first["at_s"] + 0.12, 7),
        arrowprops={"arrowstyle": "->", "color": GREY},
    )
    sold = int((sale.orders.state == ORDER_STATES.index("sold")).sum())
    finish(axes, until_s, f"20 units, {sold} of them sold")


def stock_leak(sale: SaleBooks) -> None:
    """Units on the shelf, and everybody is refused."""
    until_s = 4.0
    top, bottom = figure(2, 3.9, (3, 2))
    draw_free(top, sale, until_s)
    draw_shown(top, sale)
    left = sale.free_units[0].at_the_end
    last_s = float(sale.orders.reserved_s.max())
    top.axvline(last_s, color=GREY, lw=0.8, ls="--")
    top.annotate("the last reservation", (last_s + 0.05, 52), va="center", color=GREY)
    finish(top, until_s, f"{left} units stay, and nobody gets them", names_x=False)
    limited = (reserving(sale, Reply.LIMITED), ORANGE, "refused by the limit")
    _draw_refusals(bottom, sale, until_s, limited)


def _draw_refusals(
    axes: Axes, sale: SaleBooks, until_s: float, *more: tuple[Floats, str, str]
) -> None:
    """Reservations by their answer."""
    vain = sale.refused_in_vain
    others = sale.reserving(Reply.SOLD_OUT) & ~vain
    sent_s = sale.requests.sent_s
    draw_counts(
        axes,
        until_s,
        0.1,
        (reserving(sale, Reply.OK), BLUE, "reserved"),
        *more,
        (sent_s[others], PALE, "sold out"),
        (sent_s[vain], RED, "sold out although units were free"),
    )
    finish(axes, until_s, "Reservations a second by answer")
    axes.margins(y=0.35)
    axes.legend(loc="upper left", ncols=2 + len(more) + 1)


def zombie_sold_out(sale: SaleBooks) -> None:
    """The flag goes up once and stays."""
    until_s = sale.end_s
    top, bottom = figure(2, 3.9, (3, 2))
    draw_free(top, sale, until_s)
    draw_shown(top, sale)
    offence = DETECTORS["zombie_sold_out"](sale).evidence[0]
    for at_s, words in (
        (offence["sold_out_s"], "sold out"),
        (offence["refused_from_s"], "units are back, the flag is up"),
    ):
        top.axvline(at_s, color=GREY, lw=0.8, ls="--")
        top.annotate(words, (at_s + 0.06, 17), va="center", color=GREY)
    finish(top, until_s, "Units come back behind a flag that says sold out", names_x=False)
    top.legend(loc="center right")
    _draw_refusals(bottom, sale, until_s)


def fragmentation(sale: SaleBooks) -> None:
    """Many units, and no bucket with two."""
    until_s = 2.5
    _, (left, right) = plt.subplots(1, 2, figsize=(7.3, 3.1), width_ratios=(3, 2))
    draw_free(left, sale, until_s)
    vain_s = sale.requests.sent_s[sale.refused_in_vain]
    ticks_s = np.unique(np.round(vain_s[vain_s < until_s], 2))
    left.plot(ticks_s, np.full(len(ticks_s), -1.5), "|", color=RED, ms=7, label="pair refused")
    left.set_ylim(-3, None)
    at_s = float(DETECTORS["fragmentation"](sale).evidence[0]["refused_s"])
    left.axvline(at_s, color=GREY, lw=0.8, ls="--")
    finish(left, until_s, "Pairs are refused, units are free")
    levels = _bucket_levels(sale, at_s)
    right.bar(range(1, BUCKET_COUNT + 1), levels, color=BLUE)
    right.axhline(2, color=RED, ls="--", label="a pair")
    right.set(ylim=(0, 5), xlabel="bucket", ylabel="units", xticks=range(1, BUCKET_COUNT + 1))
    right.set_title(f"The {sum(levels)} units at {at_s:.2f} s")
    right.legend(loc="upper right")


def _bucket_levels(sale: SaleBooks, until_s: float) -> list[int]:
    """The buckets at one moment, followed from the orders."""
    levels = [share(sale.free_units[0].initial, bucket) for bucket in range(BUCKET_COUNT)]
    orders = sale.orders
    for place in np.flatnonzero(orders.reserved_s <= until_s):
        assert not orders.released_s[place] <= until_s
        units = int(orders.quantity[place])
        own = own_bucket(int(orders.account[place]))
        levels[bucket_with(levels, own, units)] -= units
    assert (
        sum(levels)
        == sale.free_units[0].initial - orders.quantity[orders.reserved_s <= until_s].sum()
    )
    return levels


def _lanes(axes: Axes, sale: SaleBooks, places: Sequence[int], sweep: bool = True) -> None:
    """Orders one below the other: lock, payment, release."""
    orders = sale.orders
    for row, place in enumerate(places):
        begin, end = orders.reserved_s[place], orders.expires_s[place]
        axes.barh(row, end - begin, left=begin, height=0.55, color=SKY, lw=0)
    rows = np.arange(len(places))
    axes.plot(orders.sold_s[places], rows, "o", color=GREEN, ms=6, label="paid")
    axes.plot(orders.released_s[places], rows, "x", color=RED, ms=7, mew=2, label="released")
    axes.barh(0, 0, color=SKY, label="lock time")
    axes.set_yticks(rows, [f"order {orders.order_id[place]}" for place in places])
    axes.invert_yaxis()
    if sweep:
        every_s = sale.scenario.shop.release_sweep
        high_s = float(np.nanmax(orders.released_s[places])) + every_s
        for at_s in np.arange(0, high_s, every_s):
            axes.axvline(at_s, color=PALE, lw=0.8, zorder=0)


def paid_but_released(sale: SaleBooks) -> None:
    """Money, and the units given back."""
    (axes,) = figure()
    _lanes(axes, sale, offenders(sale, "paid_but_released"))
    finish(axes, 1.5, "Each is paid, and its unit goes back on the shelf (lines: sweeps)")
    axes.legend(loc="lower right")


def repeated_callback(sale: SaleBooks) -> None:
    """The copy, the payment, the release."""
    (axes,) = figure()
    _lanes(axes, sale, offenders(sale, "repeated_callback"))
    finish(axes, 2.9, "Copied unpaid, then paid, then released by the copy (lines: sweeps)")
    axes.legend(loc="upper right")


def late_release(sale: SaleBooks) -> None:
    """Locks that outlast their time and a sweep."""
    (axes,) = figure()
    orders, sweep_s = sale.orders, sale.scenario.shop.release_sweep
    places = offenders(sale, "late_release")
    for row, place in enumerate(places):
        begin, end = orders.reserved_s[place], orders.expires_s[place]
        due_s, back_s = end + sweep_s, orders.released_s[place]
        axes.barh(row, end - begin, left=begin, height=0.55, color=SKY, lw=0)
        axes.barh(row, due_s - end, left=end, height=0.55, color=PALE, lw=0)
        axes.barh(row, back_s - due_s, left=due_s, height=0.55, color=RED, lw=0)
    for colour, label in ((SKY, "lock time"), (PALE, "one sweep"), (RED, "late")):
        axes.barh(0, 0, color=colour, label=label)
    for at_s in np.arange(0, 5, sweep_s):
        axes.axvline(at_s, color=GREY, lw=0.8, ls="--")
    axes.set_yticks(range(len(places)), [f"order {orders.order_id[place]}" for place in places])
    axes.invert_yaxis()
    finish(axes, 5.6, "How long units stayed locked (dashed: sweeps)")


def limit_bypass(sale: SaleBooks) -> None:
    """One account, two orders, one allowed."""
    offence = DETECTORS["limit_bypass"](sale).evidence[0]
    places = [place_of(sale, order_id) for order_id in offence["order_ids"]]
    until_s = float(np.nanmax(sale.orders.sold_s[places])) + 0.5
    top, bottom = figure(2, 3.4, (1, 1))
    _lanes(top, sale, places, sweep=False)
    finish(top, until_s, "Two orders of one account", names_x=False)
    top.legend(loc="upper right")
    own = take_books(sale.orders, np.isin(np.arange(len(sale.orders.sku)), places))
    at_s, left = steps(FreeUnits.of(own, 0, offence["limit"]), until_s)
    held = offence["limit"] - left
    bottom.step(at_s, held, where="post", color=BLUE)
    over = np.maximum(held, offence["limit"])
    bottom.fill_between(at_s, over, offence["limit"], step="post", color=RED, alpha=0.35, lw=0)
    bottom.axhline(offence["limit"], color=GREY, ls="--", lw=1)
    bottom.annotate("limit", (0.05, offence["limit"] + 0.08), color=GREY)
    bottom.set(ylabel="units held", yticks=[0, 1, 2], ylim=(0, 2.4))
    finish(bottom, until_s, "What the account holds")


def drift(sale: SaleBooks) -> None:
    """The level shown and the levels that it may show."""
    until_s = sale.end_s
    (axes,) = figure()
    draw_free(axes, sale, until_s, "left by the orders")
    readings = sale.stock.at_s
    free = sale.free_units[0]
    low = free.lowest_within(readings - stock_drift.DRIFT_S, readings)
    high = free.highest_within(readings - stock_drift.DRIFT_S, readings)
    axes.vlines(readings, low, high, color=SKY, lw=5, alpha=0.6, label="levels of the last second")
    off = (sale.stock.available < low) | (sale.stock.available > high)
    axes.plot(readings[~off], sale.stock.available[~off], "o", color=ORANGE, label="shown")
    axes.plot(readings[off], sale.stock.available[off], "X", color=RED, ms=7, label="shown: wrong")
    finish(axes, until_s, "The page and the orders part company")
    axes.legend(loc="lower left")


def release_stampede(sale: SaleBooks) -> None:
    """The rush after the sweep."""
    until_s = 10.0
    top, bottom = figure(2, 3.9, (3, 2))
    requests = sale.requests
    failed = np.isin(requests.reply, [int(reply) for reply in FAILED_REPLIES])
    draw_counts(
        top,
        until_s,
        0.2,
        (requests.intended_s[~failed], BLUE, "answered"),
        (requests.intended_s[failed], RED, "overloaded"),
    )
    offence = DETECTORS["release_stampede"](sale).evidence[0]
    at_s = offence["released_s"]
    for axes in (top, bottom):
        axes.axvline(at_s, color=GREY, lw=0.8, ls="--")
    top.annotate(
        f"{offence['units']} units\ncome back", (at_s, 1000), (at_s - 1.6, 1000), va="center"
    )
    finish(top, until_s, "Requests a second", names_x=False)
    top.legend(loc="upper left")
    centres, p95_s = _quantile_over_time(sale, ~failed, 0.95, 0.2, until_s)
    bottom.step(centres, p95_s * 1000, where="mid", color=BLUE)
    bottom.set_ylabel("p95, ms")
    finish(bottom, until_s, "Response time of those that were answered")


def _quantile_over_time(
    sale: SaleBooks, mask: NDArray[np.bool_], level: float, width_s: float, until_s: float
) -> tuple[Floats, Floats]:
    """A quantile of the response time in each bin of the moment asked for."""
    requests = sale.requests
    edges = np.arange(0, until_s + 1e-9, width_s)
    at_s = requests.intended_s[mask]
    response_s = requests.done_s[mask] - at_s
    values = [
        np.quantile(response_s[inside], level) if inside.any() else np.nan
        for inside in ((at_s >= edge) & (at_s < edge + width_s) for edge in edges[:-1])
    ]
    return edges[:-1] + width_s / 2, np.array(values)


def hot_row(sale: SaleBooks) -> None:
    """Reservations slow, pages quick."""
    (axes,) = figure()
    answered = ~np.isnan(sale.requests.done_s)
    for step, colour in (("reserve", RED), ("browse", BLUE)):
        mask = answered & (sale.requests.step == STEPS.index(step))
        centres, p99_s = _quantile_over_time(sale, mask, 0.99, 0.25, 3.25)
        axes.plot(centres, p99_s * 1000, "o-", color=colour, ms=4, label=step)
    axes.set(yscale="log", ylabel="p99 of the response time, ms", ylim=(1, 5000))
    axes.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.axhline(1000, color=GREY, lw=0.8, ls="--")
    axes.annotate("a second", (0.03, 1100), color=GREY)
    finish(axes, 3.25, "One shop at one time: the row and the pages beside it")
    axes.legend(loc="center right")


def queue_after_sell_out_(sale: SaleBooks) -> None:
    """Who asked when, and how long it took to be told."""
    (axes,) = figure()
    requests = sale.requests
    waited_s = requests.done_s - requests.intended_s
    gone_s = float(sale.free_units[0].at_s[np.argmin(sale.free_units[0].units)])
    refused = sale.reserving(Reply.SOLD_OUT)
    vain = refused & (waited_s > queue_after_sell_out.WAIT_S) & (requests.intended_s > gone_s)
    for mask, colour, label in (
        (sale.reserving(Reply.OK), GREEN, "got one"),
        (refused & ~vain, GREY, "sold out"),
        (vain, RED, "sold out: asked too late, waited over 10 s"),
    ):
        places = np.flatnonzero(mask)[::3]
        axes.plot(requests.intended_s[places], waited_s[places], ".", color=colour, label=label)
    axes.axvline(gone_s, color=GREY, lw=0.8, ls="--")
    axes.annotate("the last unit is gone", (gone_s + 0.05, 0.4), color=GREY)
    axes.axhline(queue_after_sell_out.WAIT_S, color=GREY, lw=0.8, ls="--")
    axes.set_ylabel("waited for the answer, s")
    finish(axes, 4.2, "Every third reservation: when it was asked for, how long it waited")
    axes.legend(loc="upper left")


def retry_storm(sale: SaleBooks) -> None:
    """What is asked for and what is answered, around the fault."""
    until_s = 24.0
    (axes,) = figure()
    requests = sale.requests
    failed = np.isin(requests.reply, [int(reply) for reply in FAILED_REPLIES])
    draw_counts(
        axes,
        until_s,
        0.5,
        (requests.intended_s[~failed], BLUE, "answered in time"),
        (requests.intended_s[failed], RED, "failed"),
    )
    (fault,) = sale.faults
    axes.axvspan(fault.begun_s, fault.ended_s, color=PALE, lw=0, zorder=0, label="the shop stands")
    finish(axes, until_s, "Requests a second: the fault ends, the storm stays")
    axes.legend(loc="upper left")


FAILURES: dict[str, Callable[[SaleBooks], None]] = {
    "oversell": oversell,
    "stock_leak": stock_leak,
    "fragmentation": fragmentation,
    "zombie_sold_out": zombie_sold_out,
    "paid_but_released": paid_but_released,
    "paid_and_lost": paid_and_lost,
    "double_charge": double_charge,
    "repeated_callback": repeated_callback,
    "stock_drift": drift,
    "limit_bypass": limit_bypass,
    "coupon_overuse": coupon_overuse,
    "late_release": late_release,
    "release_stampede": release_stampede,
    "hot_row": hot_row,
    "queue_after_sell_out": queue_after_sell_out_,
    "retry_storm": retry_storm,
}


# --- one picture a strategy, all on the same axes ---


def strategy_picture(sale: SaleBooks) -> None:
    """Stock, sales and refusals of the same crowd."""
    until_s = sale.end_s
    top, bottom = figure(2, 4.1, (3, 2))
    draw_free(top, sale, until_s)
    draw_shown(top, sale)
    sold_s = sale.orders.sold_s[~np.isnan(sale.orders.sold_s)]
    at_s = np.linspace(0, until_s, STEPS_MAX)
    sold = np.searchsorted(np.sort(sold_s), at_s, side="right")
    top.step(at_s, sold, where="post", color=GREEN, label="paid, all in all")
    top.axhline(24, color=GREY, lw=0.8, ls="--")
    lowest = int(sale.free_units[0].units.min())
    top.set_ylim(min(-3, 1.1 * lowest), 1.45 * max(24, len(sold_s)))
    strategy = sale.scenario.shop.strategy
    finish(top, until_s, f"{strategy}: {len(sold_s)} of 24 units paid for", names_x=False)
    top.legend(loc="upper left", ncols=3)
    failed = np.isin(sale.requests.reply, [int(reply) for reply in FAILED_REPLIES])
    draw_counts(
        bottom,
        until_s,
        0.1,
        (reserving(sale, Reply.OK), BLUE, "reserved"),
        (reserving(sale, Reply.SOLD_OUT, Reply.LIMITED), PALE, "sold out, limit"),
        (sale.requests.intended_s[failed], RED, "overloaded, timed out"),
    )
    bottom.set_ylim(0, 1700)
    finish(bottom, until_s, "Reservations a second by answer")
    bottom.legend(loc="upper left", ncols=3)


# --- all of them ---


def _shorter(number: re.Match[str]) -> str:
    """A hundredth of a point is more than anybody sees."""
    return f"{float(number[0]):.2f}"


def save(name: str) -> None:
    """Write the current figure."""
    path = PICTURES / f"{name}.svg"
    drawn: Figure = plt.gcf()
    drawn.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(drawn)
    text = re.sub(r"\d+\.\d{3,}", _shorter, path.read_text("utf-8"))
    path.write_text("".join(f"{line.rstrip()}\n" for line in text.splitlines()), "utf-8")
    size = path.stat().st_size
    sys.stdout.write(f"{path.relative_to(ROOT)}: {size:,} bytes\n")
    if size > BYTES_MAX:
        sys.exit(f"{path.name}: {size:,} bytes; allowed {BYTES_MAX:,}")


def main() -> None:
    """Draw what was asked for, or all."""
    wanted = sys.argv[1:] or [*FAILURES, *STRATEGIES]
    if unknown := set(wanted) - {*FAILURES, *STRATEGIES}:
        sys.exit(f"no picture is called {', '.join(sorted(unknown))}; leave the names out for all")
    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    PICTURES.mkdir(exist_ok=True)
    crowd = read_scenario(ROOT / "scenarios" / "strategies.yaml").scenario
    for name in wanted:
        if name in FAILURES:
            path = ROOT / "scenarios" / "failures" / f"{name}.yaml"
            FAILURES[name](sale_of(read_scenario(path).scenario))
        else:
            shop = crowd.shop.model_copy(update={"strategy": name})
            strategy_picture(sale_of(crowd.model_copy(update={"shop": shop})))
        save(name)


if __name__ == "__main__":
    main()
