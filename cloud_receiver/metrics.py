"""Figures for Prometheus. Each app has its own registry, so that two in one process do not add up."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is counted; `registry` renders it."""

    registry: CollectorRegistry
    batches: Counter
    records: Counter
    batch_bytes: Counter
    refused: Counter
    ingest_seconds: Histogram


def new_metrics() -> Metrics:
    """All figures at zero."""
    registry = CollectorRegistry()
    prefix = "alumiguard_receiver"
    return Metrics(
        registry=registry,
        batches=Counter(f"{prefix}_batches", "Batches answered 200", ["outcome"], registry=registry),
        records=Counter(f"{prefix}_records", "Records that became held", registry=registry),
        batch_bytes=Counter(f"{prefix}_batch_bytes", "Packed bytes of accepted batches", registry=registry),
        refused=Counter(f"{prefix}_refused", "Requests refused, by problem", ["code"], registry=registry),
        ingest_seconds=Histogram(
            f"{prefix}_ingest_seconds", "From the last byte of a batch to its receipt", registry=registry
        ),
    )
