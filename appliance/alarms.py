"""Alarms after ISA-18.2: raised, acknowledged by a person, cleared when the condition is gone.

An alarm stays on the list until it is both cleared and acknowledged. The list survives a restart: it is read
back from the log's projection.
"""

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

from appliance.config import AlarmSection
from appliance.line import Line
from drivers.reading import Quality, TagValue
from sync.audit_log import LogError
from sync.database import reading
from sync.projections import open_alarms
from sync.record import AlarmAcknowledged, AlarmCleared, AlarmRaised, Body
from ui.backend import AlarmView, CommandRefused

EVALUATE_SECONDS = 0.2

Priority = Literal["low", "medium", "high"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now: what an alarm would say of it."""

    alarm: str
    priority: Priority
    text: str
    action: str
    value: TagValue | None = None
    limit: float | None = None
    unit: str = ""


class AlarmBook:
    """The alarms that are active or not yet acknowledged."""

    def __init__(
        self, append: Callable[[Body], Awaitable[int]], now: Callable[[], str], known: Iterable[AlarmView]
    ) -> None:
        """`known` are those that stood when the box stopped; `now` gives the wall time for display."""
        self._append = append
        self._now = now
        self._views = {view.raised_seq: view for view in known}
        self._unrecorded: tuple[AlarmView, ...] = ()

    def views(self) -> tuple[AlarmView, ...]:
        """One for each alarm: the active ones first, then the newest. `times` counts the unseen."""
        newest = {view.alarm: view for _, view in sorted(self._views.items())}
        unseen = Counter(view.alarm for view in self._views.values() if view.acknowledged_by is None)
        counted = [replace_view(view, times=max(1, unseen[alarm])) for alarm, view in newest.items()]
        recorded = sorted(counted, key=lambda v: (not v.active, -v.raised_seq))
        return (*self._unrecorded, *recorded)

    async def update(self, watched: Iterable[str], conditions: Iterable[Condition]) -> None:
        """Raise what is wrong and clear what no longer is, among the alarms named in `watched`.

        What the log does not take is shown all the same, as not recorded, and tried again next time.
        """
        wrong = {condition.alarm: condition for condition in conditions}
        active = {view.alarm: view for view in self._views.values() if view.active}
        unrecorded: list[AlarmView] = []
        for alarm in watched:
            try:
                if alarm in wrong and alarm not in active:
                    await self._raise(wrong[alarm])
                elif alarm in active and alarm not in wrong:
                    await self._clear(active[alarm])
            except LogError as error:
                log.debug("alarm not recorded yet", alarm=alarm, error=str(error))
                if alarm in wrong:
                    unrecorded.append(self._view(wrong[alarm], -1 - len(unrecorded)))
        self._unrecorded = tuple(unrecorded)

    async def acknowledge(self, raised_seq: int, by: str) -> int:
        """A person has seen it, and so has seen every earlier time it was raised; the seq of the last record.

        Raises:
            CommandRefused: if there is no such alarm, or it is acknowledged already.
        """
        if raised_seq < 0:
            raise CommandRefused(
                "the log takes no record now, so nobody can acknowledge; mend the disk first"
            )
        view = self._views.get(raised_seq)
        if view is None:
            raise CommandRefused(f"there is no alarm {raised_seq} any more; look at the list again")
        if view.acknowledged_by is not None:
            raise CommandRefused(f"{view.acknowledged_by} has already acknowledged it")
        unseen = [v for v in self._views.values() if v.alarm == view.alarm and v.acknowledged_by is None]
        seq = 0
        for each in sorted(unseen, key=lambda v: v.raised_seq):
            seq = await self._append(AlarmAcknowledged(alarm=each.alarm, raised_seq=each.raised_seq, by=by))
            self._keep(replace_view(self._views[each.raised_seq], acknowledged_by=by))
        return seq

    async def _raise(self, condition: Condition) -> None:
        seq = await self._append(
            AlarmRaised(
                alarm=condition.alarm,
                priority=condition.priority,
                text=condition.text,
                action=condition.action,
                value=condition.value,
                limit=condition.limit,
                unit=condition.unit,
            )
        )
        self._keep(self._view(condition, seq))

    def _view(self, condition: Condition, raised_seq: int) -> AlarmView:
        """`raised_seq` is negative for an alarm that has no record yet."""
        return AlarmView(
            raised_seq=raised_seq,
            alarm=condition.alarm,
            priority=condition.priority,
            text=condition.text,
            action=condition.action,
            raised_at=self._now(),
            active=True,
            acknowledged_by=None,
            value=condition.value,
            unit=condition.unit,
        )

    async def _clear(self, view: AlarmView) -> None:
        await self._append(AlarmCleared(alarm=view.alarm, raised_seq=view.raised_seq))
        self._keep(replace_view(self._views[view.raised_seq], active=False))

    def _keep(self, view: AlarmView) -> None:
        if view.active or view.acknowledged_by is None:
            self._views[view.raised_seq] = view
        else:
            self._views.pop(view.raised_seq, None)


def replace_view(view: AlarmView, **changes: object) -> AlarmView:
    """The view with some fields changed."""
    return view.model_copy(update=changes)


def standing_alarms(database: Path) -> list[AlarmView]:
    """The alarms that stood, or nobody had seen, when the log was last written."""
    with reading(database) as connection:
        return [AlarmView.model_validate(dataclasses.asdict(alarm)) for alarm in open_alarms(connection)]


@dataclass(frozen=True, slots=True)
class _Watch:
    """One configured alarm between evaluations: since when its limit is passed, and whether it stands."""

    passed_since: float | None = None
    standing: bool = False


class TagAlarms:
    """Evaluates the configured alarms against the line's latest values."""

    def __init__(self, sections: Iterable[AlarmSection], line: Line) -> None:
        self._sections = tuple(sections)
        self._line = line
        self._watches = {section.name: _Watch() for section in self._sections}
        self._began = time.monotonic()
        self.names = tuple(self._watches)

    def conditions(self) -> list[Condition]:
        """What is wrong now. A value of bad quality neither raises nor clears a limit."""
        now = time.monotonic()
        wrong = []
        for section in self._sections:
            reading = self._line.latest(section.tag)
            age_seconds = now - (reading.received_mono_ns / 1e9 if reading is not None else self._began)
            value = None if reading is None or reading.quality is Quality.BAD else reading.value
            watch = self._watches[section.name]
            passed = _passed(section, value, age_seconds, standing=watch.standing)
            if passed is not None:
                since = (watch.passed_since if watch.passed_since is not None else now) if passed else None
                standing = since is not None and now - since >= section.on_delay_seconds
                watch = replace(watch, passed_since=since, standing=standing)
                self._watches[section.name] = watch
            if watch.standing:
                wrong.append(_condition(section, value, self._line.units[section.tag]))
        return wrong


def _passed(
    section: AlarmSection, value: TagValue | None, age_seconds: float, *, standing: bool
) -> bool | None:
    """Whether a limit is passed; None when the value cannot tell. The dead-band holds a standing alarm."""
    if section.stale_seconds is not None and age_seconds > section.stale_seconds:
        return True
    band = section.dead_band if standing else 0.0
    if section.high is None and section.low is None:
        return False
    if value is None or isinstance(value, str):
        return None
    above = section.high is not None and value > section.high - band
    below = section.low is not None and value < section.low + band
    return above or below


def _condition(section: AlarmSection, value: TagValue | None, unit: str) -> Condition:
    limit = section.high
    if limit is None or (section.low is not None and isinstance(value, int | float) and value < section.low):
        limit = section.low
    return Condition(section.name, section.priority, section.text, section.action, value, limit, unit)


async def keep_watching(
    book: AlarmBook, tag_alarms: TagAlarms, box_conditions: Callable[[], tuple[list[str], list[Condition]]]
) -> None:
    """Evaluate every alarm until cancelled. `box_conditions` gives the box's own alarms and what is wrong."""
    while True:
        names, conditions = box_conditions()
        await book.update([*tag_alarms.names, *names], [*tag_alarms.conditions(), *conditions])
        await asyncio.sleep(EVALUATE_SECONDS)
