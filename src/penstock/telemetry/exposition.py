"""Figures written out as Prometheus or OpenMetrics read them. Imports prometheus-client, when first asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.telemetry.catalogue import METRICS, Metric
from penstock.telemetry.figures import Histogram

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

Sample = tuple[tuple[str, ...], float | Histogram]
"""Values of the labels in the catalogue's order, and the figure."""
Reading = Mapping[str, Sequence[Sample]]
"""Figures by the metric's name."""


def write(reading: Reading, accept: str) -> tuple[bytes, str]:
    """The text and its content type, by what the caller takes (`Accept`); the Python process's own metrics come with it."""
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector  # noqa: PLC0415
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415
    from prometheus_client.registry import Collector  # noqa: PLC0415

    unknown = reading.keys() - {metric.name for metric in METRICS}
    assert not unknown, f"not in the catalogue: {unknown}"

    class Ours(Collector):
        def collect(self) -> Iterator[Family]:
            for metric in METRICS:
                yield _family(metric, reading.get(metric.name, ()))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Ours())
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # it says a version that is no number
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


def _family(metric: Metric, samples: Iterable[Sample]) -> Family:
    from prometheus_client import core  # noqa: PLC0415

    name = metric.name.removesuffix("_total")
    match metric.kind:
        case "info":
            info = core.InfoMetricFamily(name.removesuffix("_info"), metric.help)
            for labels, _ in samples:
                info.add_metric((), dict(zip(metric.labels, labels, strict=True)))
            return info
        case "histogram":
            histogram = core.HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for labels, value in samples:
                assert isinstance(value, Histogram), metric.name
                histogram.add_metric(labels, value.cumulated, value.sum)
            return histogram
        case "counter" | "gauge":
            kind = core.CounterMetricFamily if metric.kind == "counter" else core.GaugeMetricFamily
            family = kind(name, metric.help, labels=metric.labels)
            for labels, value in samples:
                assert not isinstance(value, Histogram), metric.name
                family.add_metric(labels, value)
            return family
