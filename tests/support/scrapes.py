"""Metrics as a scraper reads them."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relaybox_hooks.observers.prometheus import PrometheusMetrics


class Scrapes:
    """A registry with the metrics, and what scrapes of it show."""

    def __init__(self, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.metrics = PrometheusMetrics(registry=self.registry, **options)

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def samples(self) -> dict[tuple[str, ...], float]:
        """By the name after ``relaybox_hooks_``, and the labels' values in the labels' order."""
        found: dict[tuple[str, ...], float] = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                labels = [value for _, value in sorted(sample.labels.items())]
                key = (sample.name.removeprefix("relaybox_hooks_"), *labels)
                assert key not in found
                found[key] = sample.value
        return found

    def of(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Samples of this name, by those of their labels' values that are not in ``labels``."""
        return {
            tuple(label for label in key if label not in labels): value
            for (sample, *key), value in self.samples().items()
            if sample == name and set(labels) <= set(key)
        }
