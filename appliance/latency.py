"""How long each stage took: over the last minute for the console, over an interval for the record."""

import time
from collections import defaultdict, deque
from collections.abc import Mapping

import numpy as np

from sync.record import Quantiles

RECENT_SECONDS = 60.0
_MAX_SAMPLES = 20_000


class Latencies:
    """Samples of stages, in milliseconds, each with the time at which it was taken."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=_MAX_SAMPLES))

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """Keep one sample of each stage."""
        now = time.monotonic()
        for stage, ms in stage_ms.items():
            self._recent[stage].append((now, ms))

    def recent(self) -> dict[str, dict[str, float]]:
        """p50, p99 and max of each stage over the last minute."""
        horizon = time.monotonic() - RECENT_SECONDS
        found = {
            stage: [ms for at, ms in samples if at >= horizon] for stage, samples in self._recent.items()
        }
        return {
            stage: {"p50": q.p50, "p99": q.p99, "max": q.max}
            for stage, samples in found.items()
            if (q := quantiles(samples)) is not None
        }


def quantiles(samples: list[float]) -> Quantiles | None:
    """p50, p99 and max in milliseconds, rounded to the microsecond; None without samples."""
    if not samples:
        return None
    p50, p99 = np.quantile(samples, [0.5, 0.99])
    return Quantiles(p50=round(float(p50), 3), p99=round(float(p99), 3), max=round(max(samples), 3))
