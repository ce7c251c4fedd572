"""The only loops that retry: one keeps a device, one keeps a child process, one keeps a camera (in a thread).

A driver raises and dies. Here it is written down once when it goes and once when it is back, and tried again
after a back-off that grows to `MAX_WAIT_SECONDS`.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import structlog
from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential_jitter

from drivers.driver import TagDriver, TagDriverConfig
from drivers.errors import DeviceError, DeviceMisconfigured
from drivers.reading import Reading
from sync.record import Body, DeviceBack, DeviceLost

MAX_WAIT_SECONDS = 5.0
STOP_SECONDS = 8.0
"""How long a child may take to stop in good order before it is killed."""

_PR_SET_PDEATHSIG = 1

CANNOT_START = 78
"""Exit status (EX_CONFIG of sysexits.h) of a child that would fail the same way if it were started again."""

CANNOT_START_SECONDS = 30.0

log = structlog.get_logger()


class OnCannotStart(Enum):
    """What it means for the rest that a child says it cannot work."""

    GIVE_UP = "nothing can go on without it"
    TRY_AGAIN = "the rest goes on without it, and it is tried again every CANNOT_START_SECONDS"


class CannotStart(Exception):
    """A child says that it cannot work as it is configured; what it printed tells why."""


class Backoff:
    """How long to wait before the next try: exponential with jitter, from the first failure on."""

    def __init__(self, max_seconds: float = MAX_WAIT_SECONDS) -> None:
        self._wait = wait_exponential_jitter(multiplier=0.2, max=max_seconds, jitter=0.3)
        self._state = RetryCallState(Retrying(), None, (), {})

    def next_seconds(self) -> float:
        """The wait after one more failure."""
        seconds = self._wait(self._state)
        self._state.attempt_number += 1
        return min(seconds, MAX_WAIT_SECONDS)

    def reset(self) -> None:
        """It worked: start again from the shortest wait."""
        self._state.attempt_number = 1


Put = Callable[[Body], None]
"""Hands a body to the recorder, which keeps it until the log has it on disk."""


@dataclass
class Outage:
    """Whether something is lost, written down when that changes and not while it lasts."""

    name: str
    put: Put
    lost_mono: float | None = None

    def lost(self, cause: str) -> None:
        """It does not answer."""
        if self.lost_mono is None:
            self.lost_mono = time.monotonic()
            log.warning("lost", device=self.name, cause=cause)
            self.put(DeviceLost(device=self.name, cause=cause))

    def back(self) -> None:
        """It answers."""
        if self.lost_mono is not None:
            gap_seconds = time.monotonic() - self.lost_mono
            self.lost_mono = None
            log.info("back", device=self.name, gap_seconds=gap_seconds)
            self.put(DeviceBack(device=self.name, gap_seconds=gap_seconds))


class SupervisedDevice:
    """A tag device that is kept open. `driver` is None while it is not connected."""

    def __init__(
        self,
        config: TagDriverConfig,
        put: Put,
        take: Callable[[Reading], None],
        changed: Callable[[str, str | None], None],
    ) -> None:
        """Args: `take` gets every reading; `changed` the device's name and why it is gone, None when back."""
        self.config = config
        self.driver: TagDriver | None = None
        self._take = take
        self._changed = changed
        self._outage = Outage(config.name, put)

    async def keep(self) -> None:
        """Connect, read, and do so again after every failure, until cancelled.

        A device whose configuration cannot work is left alone for as long as MAX_WAIT_SECONDS at a time.
        """
        backoff = Backoff()
        while True:
            try:
                async with self.config.open() as driver:
                    self.driver = driver
                    async for reading in driver.readings():
                        if self._outage.lost_mono is not None:
                            backoff.reset()
                            self._outage.back()
                            self._changed(self.config.name, None)
                        self._take(reading)
            except DeviceError as error:
                self.driver = None
                self._outage.lost(f"{type(error).__name__}: {error}")
                self._changed(self.config.name, f"{error} {error.hint}".strip())
                wait = MAX_WAIT_SECONDS if isinstance(error, DeviceMisconfigured) else backoff.next_seconds()
                await asyncio.sleep(wait)
            except Exception as error:  # a defect in one driver must not end the box
                log.exception("the driver failed", device=self.config.name)
                self._outage.lost(f"its driver failed: {type(error).__name__}")
                self._changed(self.config.name, "Its driver failed; see the box's log, and report it")
                await asyncio.sleep(backoff.next_seconds())
            finally:
                self.driver = None


@dataclass
class SupervisedProcess:
    """A child process that is started again whenever it ends, until the task is cancelled."""

    name: str
    arguments: Sequence[str]
    put: Put | None = None
    on_cannot_start: OnCannotStart = OnCannotStart.GIVE_UP
    pid: int | None = None
    restarts: int = 0
    _outage: Outage | None = field(default=None, init=False)

    def kill(self) -> None:
        """End a process that hangs; it is started again."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    async def keep(self) -> None:
        """Run it and run it again. Cancelling asks it to stop, and kills it if it does not."""
        if self.put is not None:
            self._outage = Outage(self.name, self.put)
        backoff = Backoff()
        while True:
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *self.arguments, stdin=asyncio.subprocess.DEVNULL, preexec_fn=die_with_parent
            )
            self.pid = process.pid
            try:
                if self._outage is not None:
                    self._outage.back()
                status = await process.wait()
            finally:
                self.pid = None
                if process.returncode is None:
                    await stop(process)
            if status == CANNOT_START and self.on_cannot_start is OnCannotStart.GIVE_UP:
                raise CannotStart(f"the {self.name} process cannot start; the error is above")
            if self._outage is not None:
                self._outage.lost(f"the process ended with status {status}")
            if time.monotonic() - began > MAX_WAIT_SECONDS:
                backoff.reset()
            self.restarts += 1
            log.warning("process ended", name=self.name, status=status, restarts=self.restarts)
            wait = CANNOT_START_SECONDS if status == CANNOT_START else backoff.next_seconds()
            await asyncio.sleep(wait)


async def stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL after STOP_SECONDS. Finishes even while being cancelled."""
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def die_with_parent() -> None:
    """In a child, before it starts: get SIGTERM when the parent dies, so that no process is left behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def python(module: str, *arguments: str | Path) -> list[str]:
    """The command line of one of our own programs."""
    return [sys.executable, "-m", module, *map(str, arguments)]
