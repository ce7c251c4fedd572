"""The loops that retry."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from appliance.supervisor import (
    CANNOT_START,
    MAX_WAIT_SECONDS,
    Backoff,
    CannotStart,
    OnCannotStart,
    SupervisedDevice,
    SupervisedProcess,
)
from drivers.errors import DeviceUnreachable
from drivers.reading import Quality, Reading, TagValue
from sync.record import Body, DeviceBack, DeviceLost


def test_the_back_off_grows_to_its_limit_and_starts_again_after_success() -> None:
    backoff = Backoff()
    waits = [backoff.next_seconds() for _ in range(10)]
    assert waits[0] < 1.0
    assert waits[-1] == MAX_WAIT_SECONDS
    backoff.reset()
    assert backoff.next_seconds() < 1.0


class _FlakyDevice:
    """Gives one reading for each connection, then fails; the second connection is refused altogether."""

    name = "flaky"
    driver = "test"
    tag_units: Mapping[str, str] = {"t": ""}
    writable_tags: frozenset[str] = frozenset()

    def load_library(self) -> None:
        pass

    def __init__(self) -> None:
        self.connections = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["_FlakyDevice"]:
        self.connections += 1
        if self.connections == 2:
            raise DeviceUnreachable("nobody answers", hint="Look at the cable.")
        yield self

    async def readings(self) -> AsyncIterator[Reading]:
        yield Reading("t", self.connections, Quality.GOOD, 0)
        raise DeviceUnreachable("the link is down")

    async def write(self, values: Mapping[str, TagValue]) -> None:
        raise AssertionError(values)


async def test_a_device_that_fails_is_opened_again_and_each_gap_is_recorded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Backoff, "next_seconds", lambda _self: 0.0)
    put: list[Body] = []
    changes: list[str | None] = []
    values: asyncio.Queue[TagValue | None] = asyncio.Queue()
    device = SupervisedDevice(
        _FlakyDevice(),
        put.append,
        lambda r: values.put_nowait(r.value),
        lambda _name, gone: changes.append(gone),
    )
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(device.keep())
        assert [await values.get(), await values.get()] == [1, 3]
        task.cancel()
    assert [type(body) for body in put[:2]] == [DeviceLost, DeviceBack]
    assert changes[:3] == ["the link is down", "nobody answers Look at the cable.", None]


async def test_a_process_that_is_killed_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_seconds", lambda _self: 0.0)
    put: list[Body] = []
    process = SupervisedProcess("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], put.append)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(process.keep())
        first = await _pid_other_than(process, None)
        os.kill(first, signal.SIGKILL)
        second = await _pid_other_than(process, first)
        assert process.restarts == 1
        task.cancel()
    assert [type(body) for body in put] == [DeviceLost, DeviceBack]
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def _pid_other_than(process: SupervisedProcess, pid: int | None) -> int:
    while process.pid in (None, pid):
        await asyncio.sleep(0.01)
    assert process.pid is not None
    return process.pid


async def test_a_process_that_cannot_start_is_not_started_for_ever() -> None:
    process = SupervisedProcess("broken", [sys.executable, "-c", f"raise SystemExit({CANNOT_START})"])
    with pytest.raises(CannotStart, match="broken"):
        await process.keep()
    assert process.restarts == 0


async def test_a_process_that_the_rest_can_do_without_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("appliance.supervisor.CANNOT_START_SECONDS", 0.01)
    command = [sys.executable, "-c", f"raise SystemExit({CANNOT_START})"]
    process = SupervisedProcess("console", command, on_cannot_start=OnCannotStart.TRY_AGAIN)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        keeping = group.create_task(process.keep())
        while process.restarts < 2:
            await asyncio.sleep(0.01)
        keeping.cancel()
