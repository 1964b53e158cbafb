"""What the pictures are made of: a simulated sale, colours, axes. `docs/pictures.py` draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from doorbuster.detectors.failures import DETECTORS
from doorbuster.detectors.sale import SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.books import charges_of, orders_of
from doorbuster.measures.columns import requests_of, stock_of, visits_of
from doorbuster.measures.fault_times import FaultTime
from doorbuster.plan import Timetable, build_plan, fault_spans
from doorbuster.scenario import Scenario
from doorbuster.vocabulary import Reply
from doorbuster_sim import simulate_sale

SEED = 1
STEPS_MAX = 150
"""Points of a line with very many steps."""
EXACT_MAX = 200

# Okabe and Ito's colours, which the colour-blind tell apart: Color Universal Design, 2008.
BLUE, ORANGE, RED, GREEN, SKY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#56B4E9"
GREY, PALE = "#5f6368", "#d5d8dc"

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "doorbuster",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.labelcolor": "#202124",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
}

Floats = NDArray[np.float64]


def sale_of(scenario: Scenario) -> SaleBooks:
    """The simulated sale with the fixed seed, as the detectors look at it."""
    timetable = Timetable.of(scenario)
    sale = simulate_sale(scenario, build_plan(scenario, SEED, timetable), timetable, seed=SEED)
    skus = scenario.skus
    return SaleBooks(
        scenario,
        orders_of(sale.orders, skus=skus),
        charges_of(sale.charges),
        visits_of(
            sale.visits,
            personas=scenario.persona_names,
            phases=[name for name, _, _ in timetable.phases],
            skus=skus,
        ),
        requests_of(sale.requests),
        stock_of(sale.stock, skus=skus),
        sale.audit,
        end_s=timetable.end_s,
        slack_s=0.0,
        faults=tuple(
            FaultTime(span.fault.kind, span.begun_s, span.ended_s)
            for span in fault_spans(scenario, timetable)
        ),
    )


def steps(free: FreeUnits, until_s: float) -> tuple[Floats, NDArray[np.int64]]:
    """A step function from the opening on, thinned where it has very many steps."""
    is_long = len(free.at_s) > EXACT_MAX
    bins = np.round(free.at_s / until_s * STEPS_MAX) if is_long else free.at_s
    last = np.append(bins[1:] != bins[:-1], True)[: len(bins)]
    at_s = np.concatenate([[0.0], free.at_s[last], [until_s]])
    units = np.concatenate([[free.initial], free.units[last], [free.at_the_end]])
    return at_s, units


def draw_free(axes: Axes, sale: SaleBooks, until_s: float, label: str = "held by no order") -> None:
    """Units that no order holds; what is below zero is red."""
    at_s, units = steps(sale.free_units[0], until_s)
    axes.step(at_s, units, where="post", color=BLUE, label=label)
    if (units < 0).any():
        below = np.minimum(units, 0)
        axes.fill_between(at_s, below, 0, step="post", color=RED, alpha=0.35, lw=0)
        axes.axhline(0, color=GREY, lw=0.8)
    axes.set_ylabel("units")


def draw_shown(axes: Axes, sale: SaleBooks) -> None:
    """What the product page showed."""
    axes.plot(
        sale.stock.at_s, sale.stock.available, "o", color=ORANGE, ms=4.5, label="shown by the shop"
    )


def draw_counts(
    axes: Axes, until_s: float, width_s: float, *kinds: tuple[Floats, str, str]
) -> None:
    """Requests a second in stacked bars: (moments, colour, label) each."""
    edges = np.arange(0, until_s + width_s, width_s)
    below = np.zeros(len(edges) - 1)
    for moments, colour, label in kinds:
        rate = np.histogram(moments, edges)[0] / width_s
        axes.stairs(below + rate, edges, baseline=below, fill=True, color=colour, lw=0, label=label)
        below = below + rate
    axes.set_ylabel("requests / s")


def reserving(sale: SaleBooks, *replies: Reply) -> Floats:
    """When reservations with one of these replies were sent."""
    return sale.requests.sent_s[sale.reserving(*replies)]


def finish(axes: Axes, until_s: float, title: str, *, names_x: bool = True) -> None:
    """Title, legend and time axis."""
    axes.set_title(title)
    axes.set_xlim(0, until_s)
    if names_x:
        axes.set_xlabel("seconds from the opening")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def figure(rows: int = 1, height: float = 3.1, ratios: Sequence[float] = ()) -> list[Axes]:
    """Panels one above the other over one time axis, 700 px wide."""
    _, panels = plt.subplots(
        rows,
        1,
        figsize=(7.3, height),
        sharex=True,
        squeeze=False,
        height_ratios=ratios or [1] * rows,
    )
    return list(panels[:, 0])


def place_of(sale: SaleBooks, order_id: str) -> int:
    """The place of an order in the table."""
    return int(np.flatnonzero(sale.orders.order_id == order_id)[0])


def offenders(sale: SaleBooks, mode: str, count: int = 8) -> list[int]:
    """The places of the first orders that a detector names."""
    places = [place_of(sale, o["order_id"]) for o in DETECTORS[mode](sale).evidence]
    return places[:count]
