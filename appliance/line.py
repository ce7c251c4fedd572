"""The line as its tags tell it: latest values, and where along the lot each picture was taken."""

import time
from collections import Counter, deque
from collections.abc import Mapping

from appliance.config import BoxConfig
from drivers.reading import Quality, Reading, TagValue
from ui.backend import TagView

STALE_SECONDS = 10.0
_TRACK_SECONDS = 20.0


class Line:
    """The latest reading of every tag, and the recent track of the position tag."""

    def __init__(self, config: BoxConfig) -> None:
        self._units: dict[str, str] = {}
        self._driver_of: dict[str, str] = {}
        self._written: set[str] = set()
        for device in config.devices:
            self._units |= device.tag_units
            self._driver_of |= dict.fromkeys(device.tag_units, device.driver)
            self._written |= device.writable_tags
        self._roles = config.line
        self._latest: dict[str, Reading] = {}
        self._track: deque[tuple[int, float]] = deque(maxlen=4096)
        self.readings: Counter[str] = Counter()

    @property
    def units(self) -> Mapping[str, str]:
        """Every tag and its unit."""
        return self._units

    def take(self, reading: Reading) -> None:
        """Keep a reading as the latest of its tag."""
        self._latest[reading.tag] = reading
        self.readings[self._driver_of[reading.tag]] += 1
        if reading.tag == self._roles.position_tag and (position := _number(reading)) is not None:
            self._track.append((reading.received_mono_ns, position))
            horizon = reading.received_mono_ns - int(_TRACK_SECONDS * 1e9)
            while self._track[0][0] < horizon:
                self._track.popleft()

    def latest(self, tag: str) -> Reading | None:
        """The newest reading of a tag."""
        return self._latest.get(tag)

    def position_m(self, mono_ns: int | None = None) -> float | None:
        """Metres along the lot at a monotonic time (now if None), from the readings around it.

        Before the oldest or after the newest reading it goes on at the speed of the nearest two, for no more
        than STALE_SECONDS; further away it is not known.
        """
        at_ns = time.monotonic_ns() if mono_ns is None else mono_ns
        if not self._track:
            return None
        after = next((i for i, (t, _) in enumerate(self._track) if t >= at_ns), len(self._track) - 1)
        late_t, late = self._track[after]
        early_t, early = self._track[max(after - 1, 0)]
        if min(abs(at_ns - late_t), abs(at_ns - early_t)) > STALE_SECONDS * 1e9:
            return None
        if late_t == early_t:
            return late
        return early + (late - early) * (at_ns - early_t) / (late_t - early_t)

    def lot(self) -> str | None:
        """The lot on the line, None when it is not known (any more)."""
        reading = self._latest.get(self._roles.lot_tag or "")
        if reading is None or reading.quality is Quality.BAD or not reading.value:
            return None
        return str(reading.value)

    def view(self, tag: str) -> TagView:
        """A tag as a page shows it."""
        reading = self._latest.get(tag)
        unit = self._units[tag]
        if reading is None:
            return TagView(name=tag, value=None, unit=unit, quality="none", age_seconds=None, stale=True)
        age_seconds = (time.monotonic_ns() - reading.received_mono_ns) / 1e9
        return TagView(
            name=tag,
            value=reading.value,
            unit=unit,
            quality=reading.quality,
            age_seconds=age_seconds,
            stale=age_seconds > STALE_SECONDS or reading.quality is Quality.BAD,
        )

    def views(self) -> tuple[TagView, ...]:
        """Every tag that the line tells us; what the box itself writes is not news to anybody."""
        return tuple(self.view(tag) for tag in self._units if tag not in self._written)


def _number(reading: Reading) -> float | None:
    value: TagValue | None = reading.value
    if reading.quality is Quality.BAD or isinstance(value, str | bool) or value is None:
        return None
    return float(value)
