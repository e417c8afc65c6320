"""What the service counts, for Prometheus. Labels are small closed sets; no patient, device or person is one.

Several workers write into one folder (``PROMETHEUS_MULTIPROC_DIR``, set by whoever starts them) and any of
them answers for all.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    multiprocess,
)

from einthoven.alerts import Change

__all__ = ["CONTENT_TYPE", "METRICS", "count_alerts", "exposition", "families", "totals"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class _Metrics:
    """Each is a name of the page docs/reference/metrics.md."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.segments = Counter(
            "einthoven_segments",
            "Segments by what became of them; analysed, duplicate, late and accepted are on disk.",
            ["outcome"],
            registry=registry,
        )
        self.requests = Counter(
            "einthoven_ingest_requests",
            "Requests to send segments, by encoding and HTTP status.",
            ["encoding", "status"],
            registry=registry,
        )
        self.ingest = Histogram(
            "einthoven_ingest_seconds",
            "From the last byte of a request until it is on disk and answered.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch = Histogram(
            "einthoven_batch_segments", "Segments in one transaction.", buckets=_SIZES, registry=registry
        )
        self.commit = Histogram(
            "einthoven_batch_seconds",
            "Analysing and committing one batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge(
            "einthoven_queue_segments",
            "Segments that wait for the engine.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.sealed = Counter(
            "einthoven_sealed_segments", "Segments moved from the journal into objects.", registry=registry
        )
        self.view_days = Counter(
            "einthoven_view_days", "Days of streams of which batch views were made.", registry=registry
        )
        self.views_behind = Gauge(
            "einthoven_views_behind_seconds",
            "How long the oldest sealed segment waits to be taken into batch views; 0 where none does.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.upload_bytes = Counter(
            "einthoven_upload_bytes", "Bytes of uploads that are safe.", registry=registry
        )
        self.recordings = Counter(
            "einthoven_recordings",
            "Whole recordings by how they ended: done, failed, cancelled.",
            ["outcome"],
            registry=registry,
        )
        self.analysed = Counter(
            "einthoven_analysed_segments",
            "Segments by where they were analysed: here or regions. Without regions nothing is counted.",
            ["where"],
            registry=registry,
        )
        self.site_happenings = Counter(
            "einthoven_site_happenings",
            "What the site manager decided or saw, by kind: joined, failed, placed, ready, rolled-back …",
            ["site", "kind"],
            registry=registry,
        )
        self.region_calls = Counter(
            "einthoven_region_calls",
            "Attempts at invocations in a region, by how they ended: answered, failed.",
            ["region", "outcome"],
            registry=registry,
        )
        self.region_in_flight = Gauge(
            "einthoven_region_in_flight",
            "Invocations that a region has now.",
            ["region"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.region_avoided = Gauge(
            "einthoven_region_avoided",
            "Processes that give a region nothing now, for it fails.",
            ["region"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.region_seconds = Gauge(
            "einthoven_region_seconds",
            "How long an invocation takes in a region lately, as the process sees it that waits longest.",
            ["region"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.region_slots = Gauge(
            "einthoven_region_slots",
            "Invocations that a region takes at one time, as processes find it; 0 while it is avoided.",
            ["region"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.region_way = Gauge(
            "einthoven_region_way_seconds",
            "What a call to a region takes beside the function, however small it is; 0 where unknown.",
            ["region"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.region_rate = Gauge(
            "einthoven_region_way_bits_per_second",
            "How fast the way to a region carries; 0 where it is not known.",
            ["region"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.placements = Gauge(
            "einthoven_placements",
            "Streams by what planning found: placed, refused.",
            ["outcome"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.region_cost = Counter(
            "einthoven_region_cost",
            "What invocations in a region have cost by its declared prices, in the currency of the file.",
            ["region"],
            registry=registry,
        )
        self.alerts = Counter(
            "einthoven_alerts", "Alerts raised, by priority.", ["priority"], registry=registry
        )
        self.deliveries = Counter(
            "einthoven_deliveries",
            "Attempts to tell somebody, by channel and outcome.",
            ["channel", "outcome"],
            registry=registry,
        )
        self.delivery = Histogram(
            "einthoven_delivery_seconds",
            "From a segment's arrival until an alert of it was received.",
            buckets=_SECONDS,
            registry=registry,
        )


METRICS: Final = _Metrics()


def count_alerts(changes: Iterable[Change]) -> None:
    """Count those that were raised."""
    for change in changes:
        if change.what == "raised":
            technical = "technical-" if change.alert.is_technical else ""
            METRICS.alerts.labels(technical + change.alert.priority).inc()


def totals(folder: str) -> dict[str, int]:
    """Segments by outcome, and alerts, of all workers that wrote into a folder."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    found: dict[str, int] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == "einthoven_segments_total":
                found[sample.labels["outcome"]] = int(sample.value)
            elif sample.name == "einthoven_alerts_total":
                found["alerts"] = found.get("alerts", 0) + int(sample.value)
    return found


def exposition() -> bytes:
    """All of it as text, of all workers."""
    return generate_latest(_of_all())


def families() -> Iterable[Metric]:
    """All of it, of all workers."""
    return _of_all().collect()


def _of_all() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return METRICS.registry
    _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _forget_the_dead(folder: Path) -> None:
    """What a worker had waiting went with it; what it counted stays."""
    for file in folder.glob("gauge_live*_*.db"):
        process = int(file.stem.rsplit("_", 1)[1])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process was faster
                multiprocess.mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:  # somebody else's, who took the number
            continue
