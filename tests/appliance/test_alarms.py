"""Alarms after ISA-18.2."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

import appliance
from appliance.alarms import AlarmBook, Condition, TagAlarms
from appliance.config import AlarmSection, load
from appliance.line import Line
from drivers.reading import Quality, Reading
from sync.audit_log import LogUnwritable
from sync.record import AlarmAcknowledged, AlarmCleared, AlarmRaised, Body
from ui.backend import CommandRefused

_HOT = Condition("hot", "high", "Too hot", "Cool it")


class _Log:
    """Gives out sequence numbers and remembers what was appended; refuses while `full`."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.full = False

    async def append(self, body: Body) -> int:
        if self.full:
            raise LogUnwritable("disk full")
        self.bodies.append(body)
        return len(self.bodies)


_CONFIG = load(Path(appliance.__file__).parent / "profiles" / "surface.toml")


class _Line(Line):
    """The shipped profile's line, with one tag set by hand."""

    def __init__(self) -> None:
        super().__init__(_CONFIG)

    def set(self, value: float | None, age_seconds: float = 0.0) -> None:
        quality = Quality.BAD if value is None else Quality.GOOD
        mono_ns = time.monotonic_ns() - int(age_seconds * 1e9)
        self.take(Reading("coolant_celsius", value, quality, mono_ns))


def _book(log: _Log) -> AlarmBook:
    return AlarmBook(log.append, lambda: "now", [])


def _section(**changes: object) -> AlarmSection:
    return AlarmSection.model_validate(
        {"name": "hot", "tag": "coolant_celsius", "text": "x", "action": "y", **changes}
    )


async def test_an_alarm_is_raised_once_and_cleared_once() -> None:
    log = _Log()
    book = _book(log)
    for conditions in ([_HOT], [_HOT], [], []):
        await book.update(["hot"], conditions)
    assert [type(body) for body in log.bodies] == [AlarmRaised, AlarmCleared]


async def test_a_cleared_alarm_stays_on_the_list_until_someone_has_seen_it() -> None:
    log = _Log()
    book = _book(log)
    await book.update(["hot"], [_HOT])
    await book.update(["hot"], [])
    (view,) = book.views()
    assert (view.active, view.acknowledged_by) == (False, None)
    await book.acknowledge(view.raised_seq, "ana")
    assert book.views() == ()
    assert isinstance(log.bodies[-1], AlarmAcknowledged)


async def test_an_acknowledged_alarm_that_still_stands_stays_on_the_list() -> None:
    book = _book(_Log())
    await book.update(["hot"], [_HOT])
    await book.acknowledge(book.views()[0].raised_seq, "ana")
    assert [view.acknowledged_by for view in book.views()] == ["ana"]
    with pytest.raises(CommandRefused, match="ana has already"):
        await book.acknowledge(book.views()[0].raised_seq, "ben")


async def test_an_alarm_that_comes_and_goes_is_one_line_with_a_count_and_one_tap() -> None:
    log = _Log()
    book = _book(log)
    for conditions in ([_HOT], [], [_HOT], [], [_HOT]):
        await book.update(["hot"], conditions)
    (view,) = book.views()
    assert (view.active, view.times) == (True, 3)
    await book.acknowledge(view.raised_seq, "ana")
    (view,) = book.views()
    assert (view.active, view.times, view.acknowledged_by) == (True, 1, "ana")
    assert sum(isinstance(body, AlarmAcknowledged) for body in log.bodies) == 3


async def test_acknowledging_what_is_not_there_says_so() -> None:
    with pytest.raises(CommandRefused, match="no alarm 7"):
        await _book(_Log()).acknowledge(7, "ana")


async def test_an_alarm_that_the_log_refuses_is_shown_and_raised_when_the_log_takes_it() -> None:
    log = _Log()
    book = _book(log)
    log.full = True
    await book.update(["hot"], [_HOT])
    (shown,) = book.views()
    assert (shown.alarm, shown.active) == ("hot", True)
    with pytest.raises(CommandRefused, match="mend the disk"):
        await book.acknowledge(shown.raised_seq, "ana")
    log.full = False
    await book.update(["hot"], [_HOT])
    (raised,) = book.views()
    assert raised.raised_seq == 1


async def test_an_alarm_that_stood_before_a_restart_is_cleared_after_it() -> None:
    log = _Log()
    book = _book(log)
    await book.update(["hot"], [_HOT])
    again = AlarmBook(log.append, lambda: "later", book.views())
    await again.update(["hot"], [])
    assert [type(body) for body in log.bodies] == [AlarmRaised, AlarmCleared]


def test_the_dead_band_holds_an_alarm_that_stands() -> None:
    line = _Line()
    alarms = TagAlarms([_section(high=50.0, dead_band=2.0)], line)
    seen = []
    for value in (49.0, 50.5, 49.0, 48.1, 47.9, 49.0):
        line.set(value)
        seen.append(bool(alarms.conditions()))
    assert seen == [False, True, True, True, False, False]


def test_the_on_delay_ignores_a_short_excursion(monkeypatch: pytest.MonkeyPatch) -> None:
    line = _Line()
    now = 1000.0
    monkeypatch.setattr("appliance.alarms.time.monotonic", lambda: now)
    alarms = TagAlarms([_section(high=50.0, on_delay_seconds=3.0)], line)
    seen = []
    for step, value in enumerate((60.0, 40.0, 60.0, 60.0, 60.0, 60.0)):
        now = 1000.0 + step
        line.take(Reading("coolant_celsius", value, Quality.GOOD, int(now * 1e9)))
        seen.append(bool(alarms.conditions()))
    assert seen == [False, False, False, False, False, True]


def test_a_low_alarm_names_its_own_limit() -> None:
    line = _Line()
    line.set(-5.0)
    (condition,) = TagAlarms([_section(low=0.0, high=50.0)], line).conditions()
    assert (condition.limit, condition.value, condition.unit) == (0.0, -5.0, "°C")


def test_a_value_of_bad_quality_neither_raises_nor_clears() -> None:
    line = _Line()
    alarms = TagAlarms([_section(high=50.0)], line)
    line.set(None)
    assert alarms.conditions() == []
    line.set(60.0)
    assert len(alarms.conditions()) == 1
    line.set(None)
    assert len(alarms.conditions()) == 1


def test_a_tag_that_has_gone_silent_is_an_alarm() -> None:
    line = _Line()
    alarms = TagAlarms([_section(stale_seconds=5.0)], line)
    line.set(1.0, age_seconds=6.0)
    assert len(alarms.conditions()) == 1
    line.set(1.0)
    assert alarms.conditions() == []


async def test_the_list_shows_active_alarms_first_and_the_newest_first() -> None:
    book = _book(_Log())
    cold = replace(_HOT, alarm="cold")
    wet = replace(_HOT, alarm="wet")
    await book.update(["hot"], [_HOT])
    await book.update(["hot", "cold", "wet"], [cold, wet])
    assert [(view.alarm, view.active) for view in book.views()] == [
        ("wet", True),
        ("cold", True),
        ("hot", False),
    ]
