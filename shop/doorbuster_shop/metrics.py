"""What the shop tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from doorbuster_shop.shop import Shop
from doorbuster_shop.store.stock import StockLevel

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class _ShopGauges(Collector):
    """Read from the database when Prometheus asks, not kept beside it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.levels: list[StockLevel] = []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Stock by item and state, payments in flight."""
        stock = GaugeMetricFamily(
            "doorbuster_stock_units", "Units by where they are", labels=["sku", "state"]
        )
        for level in self.levels:
            for state in ("available", "locked", "sold"):
                stock.add_metric([level.sku, state], getattr(level, state))
        yield stock
        in_flight = self._shop.cashier.in_flight_count
        yield GaugeMetricFamily(
            "doorbuster_payments_in_flight", "Payments without an outcome", value=in_flight
        )


class Metrics:
    """All series of one shop, in a registry of its own."""

    def __init__(self, shop: Shop) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "doorbuster_requests",
            "Requests by endpoint and HTTP status",
            ["endpoint", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "doorbuster_request_seconds",
            "Time from the request's first byte read to its answer",
            ["endpoint"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._counter_of: dict[tuple[str, int], Counter] = {}
        self._histogram_of: dict[str, Histogram] = {}
        self._shop = shop
        self._gauges = _ShopGauges(shop)
        self.registry.register(self._gauges)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def note(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        # Looking a labelled series up in the library costs 2 us each time; the dictionaries 0.1.
        counter = self._counter_of.get((endpoint, status))
        if counter is None:
            counter = self._requests.labels(endpoint, str(status))
            self._counter_of[endpoint, status] = counter
        histogram = self._histogram_of.get(endpoint)
        if histogram is None:
            histogram = self._histogram_of[endpoint] = self._seconds.labels(endpoint)
        counter.inc()
        histogram.observe(seconds)

    async def read_stock(self) -> None:
        """Look at the stock; to be done before the registry is asked."""
        self._gauges.levels = await self._shop.store.read_levels()
