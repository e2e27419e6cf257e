"""Prometheus metrics, read where they are kept at the moment they are scraped. Needs its extra."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from relaybox_hooks.errors import ConfigError, MissingExtraError
from relaybox_hooks.observer import Observer
from relaybox_hooks.observers.prometheus_counts import Counts, Snapshot, Watch
from relaybox_hooks.stats import TargetStats
from relaybox_hooks.targets.policies import CLOSED, HALF_OPEN, OPEN

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ModuleNotFoundError as _error:
    raise MissingExtraError("prometheus-client", "prometheus") from _error

#: Seconds: from an endpoint next door, past the default time-out of an attempt (5), to
#: deliveries that outlast an outage.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600)

_STATES: Final = (CLOSED, OPEN, HALF_OPEN)

#: Each family: its type, its name after ``relaybox_hooks_``, what it says, and its labels after
#: ``hooks``. A counter's name gets ``_total``.
_FAMILIES: Final[tuple[tuple[Callable[..., Metric], str, str, tuple[str, ...]], ...]] = (
    (CounterMetricFamily, "events", "Events that at least one target wanted", ("event",)),
    (CounterMetricFamily, "webhook_delivered", "Requests answered 2xx", ("webhook",)),
    (
        CounterMetricFamily,
        "webhook_attempts",
        "Requests by class of status, or error",
        ("webhook", "result"),
    ),
    (
        CounterMetricFamily,
        "webhook_dead_letters",
        "Deliveries given up on, by reason",
        ("webhook", "reason"),
    ),
    (
        HistogramMetricFamily,
        "webhook_attempt_duration_seconds",
        "From an attempt's start to its outcome",
        ("webhook",),
    ),
    (
        HistogramMetricFamily,
        "webhook_delivery_latency_seconds",
        "From emit to the attempt that delivered, retries included",
        ("webhook",),
    ),
    (GaugeMetricFamily, "webhook_pending", "Deliveries accepted and not settled", ("webhook",)),
    (GaugeMetricFamily, "webhook_in_flight", "Attempts under way", ("webhook",)),
    (
        GaugeMetricFamily,
        "webhook_oldest_pending_timestamp_seconds",
        "When the oldest pending delivery was emitted",
        ("webhook",),
    ),
    (
        GaugeMetricFamily,
        "webhook_breaker",
        "Webhooks whose breaker is in this state",
        ("webhook", "state"),
    ),
    (GaugeMetricFamily, "webhook_enabled", "Webhooks that are sent events", ("webhook",)),
    (CounterMetricFamily, "subscriber_handled", "Events handled", ("subscriber",)),
    (CounterMetricFamily, "subscriber_failed", "Events it raised at", ("subscriber",)),
    (CounterMetricFamily, "subscriber_dropped", "Events a full lane dropped", ("subscriber",)),
    (GaugeMetricFamily, "subscriber_pending", "Events accepted and not handled", ("subscriber",)),
    (GaugeMetricFamily, "subscriber_in_flight", "Events being handled", ("subscriber",)),
    (
        GaugeMetricFamily,
        "subscriber_oldest_pending_timestamp_seconds",
        "When the oldest waiting event was emitted",
        ("subscriber",),
    ),
)


class PrometheusMetrics(Collector):
    """The metrics of one or more ``Hooks``, for one registry.

    ::

        metrics = PrometheusMetrics()
        hooks = Hooks(webhooks, observers=[metrics.observer()])

    Webhooks are labelled by id, never by URL. Gauges are read from ``hooks.stats()`` when
    scraped, and the series of a removed webhook are gone from the next scrape on. A scrape may
    be made in any thread; the event loop is asked for the figures, and the text is made outside
    of it.

    Args:
        registry: where to register; ``None`` for nowhere.
        label: the label of a webhook, given its id; webhooks with the same are counted
            together. By default each has its own: some 40 series once it has been used.
        buckets: upper bounds of the histograms', ascending, seconds; without any they have but
            count and sum, 28 series less.

    Raises:
        ConfigError: buckets that do not ascend, or have no end.
        ValueError: the registry has metrics of these names already.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry | None = REGISTRY,
        label: Callable[[str], str] = str,
        buckets: Sequence[float] = BUCKETS,
    ) -> None:
        if not all(lower < upper for lower, upper in pairwise((*buckets, float("inf")))):
            raise ConfigError("buckets", buckets, "give finite seconds in ascending order")
        self._label = label
        self._buckets = tuple(buckets)
        self._watches: dict[str, Watch] = {}
        if registry is not None:
            registry.register(self)

    def observer(self, name: str = "default") -> Observer:
        """An observer for one ``Hooks``, whose series have ``name`` as the label ``hooks``.

        Raises:
            ConfigError: the name is that of another ``Hooks`` which has not closed.
        """
        known = self._watches.get(name)
        if known is not None and not known.ended:
            raise ConfigError("name", name, "taken; give each Hooks its own")
        watch = self._watches[name] = Watch(self._label, self._buckets)
        return watch

    def describe(self) -> Iterable[Metric]:
        """The families, empty: so that a registry sees what their names are."""
        return _Families(self._buckets).all

    def collect(self) -> Iterable[Metric]:
        """The families as they are now."""
        families = _Families(self._buckets)
        for name, watch in tuple(self._watches.items()):
            snapshot = watch.snapshot()
            if snapshot is not None:
                families.add(name, snapshot)
        return families.all


class _Families:
    """The families of one scrape, filled from snapshots."""

    def __init__(self, buckets: Sequence[float]) -> None:
        self._bounds = [*(str(float(bound)) for bound in buckets), "+Inf"]
        self._by_name: dict[str, Any] = {
            name: kind(f"relaybox_hooks_{name}", text, labels=("hooks", *labels))
            for kind, name, text, labels in _FAMILIES
        }

    @property
    def all(self) -> Iterable[Metric]:
        """In the order of the table."""
        return self._by_name.values()

    def add(self, hooks: str, snapshot: Snapshot) -> None:
        """Add the series of one ``Hooks``."""
        for event, times in snapshot.events.items():
            self._put("events", times, hooks, event)
        groups: defaultdict[str, list[TargetStats]] = defaultdict(list)
        for key, row in snapshot.targets.items():
            if row.kind == "subscriber":
                self._add_subscriber(row, hooks, key)
            else:
                groups[snapshot.labels[key]].append(row)
        for label, rows in groups.items():
            self._add_webhooks(rows, hooks, label)
            counts = snapshot.counts.get(label)
            self._put(
                "webhook_delivered", counts.attempts.get("2xx", 0) if counts else 0, hooks, label
            )
            if counts:
                self._add_counts(counts, hooks, label)

    def _put(self, family: str, value: float, *labels: str) -> None:
        self._by_name[family].add_metric(labels, value)

    def _add_subscriber(self, row: TargetStats, hooks: str, name: str) -> None:
        self._put("subscriber_handled", row.delivered, hooks, name)
        self._put("subscriber_failed", row.failed, hooks, name)
        self._put("subscriber_dropped", row.dropped, hooks, name)
        self._add_queue("subscriber", [row], hooks, name)

    def _add_webhooks(self, rows: list[TargetStats], hooks: str, label: str) -> None:
        self._put("webhook_enabled", sum(row.enabled for row in rows), hooks, label)
        breakers = Counter(row.breaker for row in rows if row.breaker)
        for state in _STATES if breakers else ():
            self._put("webhook_breaker", breakers[state], hooks, label, state)
        self._add_queue("webhook", rows, hooks, label)

    def _add_queue(self, kind: str, rows: list[TargetStats], hooks: str, label: str) -> None:
        self._put(f"{kind}_pending", sum(row.pending for row in rows), hooks, label)
        self._put(f"{kind}_in_flight", sum(row.in_flight for row in rows), hooks, label)
        oldest = min((row.oldest for row in rows if row.oldest is not None), default=None)
        if oldest is not None:
            self._put(f"{kind}_oldest_pending_timestamp_seconds", oldest, hooks, label)

    def _add_counts(self, counts: Counts, hooks: str, label: str) -> None:
        for result, times in counts.attempts.copy().items():
            self._put("webhook_attempts", times, hooks, label, result)
        for reason, times in counts.letters.copy().items():
            self._put("webhook_dead_letters", times, hooks, label, reason)
        for family, histogram in (
            ("webhook_attempt_duration_seconds", counts.duration),
            ("webhook_delivery_latency_seconds", counts.latency),
        ):
            buckets = list(zip(self._bounds, accumulate(histogram.counts), strict=True))
            self._by_name[family].add_metric((hooks, label), buckets, histogram.sum)
