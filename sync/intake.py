"""The queue in front of the log's writer: what waits together is committed together.

Records are handed over from any thread and taken by one. A group is due 20 ms after its first record came,
when it has 200, or at once when one of them (or a job of the writer's own) must not wait.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from sync import record
from sync.errors import LogClosed, LogError, LogUnwritable

GROUP_SECONDS = 0.02
GROUP_ROWS = 200
MAX_WAITING = 50_000
"""Records that may wait for a disk that does not answer; one more is refused."""


@dataclass(frozen=True, slots=True)
class Append:
    """A record that waits for its seq."""

    body: record.Body
    stamp: record.Stamp
    done: Future[int]


@dataclass(frozen=True, slots=True)
class Job:
    """Something else for the writer to do, in its turn."""

    run: Callable[[], int]
    done: Future[int]


class Intake:
    """The queue. `take` is for the writer's thread alone; everything else for any."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._queue: deque[Append | Job] = deque()
        self._urgent = 0
        self._oldest_waits_since = 0.0
        self._closing = False

    def put(self, make: Callable[[Future[int]], Append | Job], *, urgent: bool) -> Future[int]:
        """Queue what `make` makes around the future that is returned.

        It is made under the queue's lock, so that the time of records follows their seq. The future cannot be
        cancelled: what was handed over is done. A closed or overfull queue gives one that has failed.
        """
        done: Future[int] = Future()
        done.set_running_or_notify_cancel()
        with self._wake:
            refusal = self._refusal()
            if refusal is not None:
                done.set_exception(refusal)
                return done
            self._queue.append(make(done))
            self._urgent += urgent
            if len(self._queue) == 1:
                self._oldest_waits_since = time.monotonic()
            if urgent or len(self._queue) in (1, GROUP_ROWS):
                self._wake.notify()
        return done

    def take(self) -> list[Append] | Job | None:
        """The next group of records or the next job, once it is due; None when all is done after `close`."""
        with self._wake:
            while not self._is_due():
                self._wake.wait(self._seconds_left())
            if not self._queue:
                return None
            first = self._queue[0]
            if isinstance(first, Job):
                self._urgent -= 1
                self._queue.popleft()
                return first
            group = self._take_group()
            self._oldest_waits_since = time.monotonic()
            return group

    def close(self) -> None:
        """Take nothing more; what waits is due now."""
        with self._wake:
            self._closing = True
            self._wake.notify()

    def _take_group(self) -> list[Append]:
        group: list[Append] = []
        while self._queue and len(group) < GROUP_ROWS:
            item = self._queue[0]
            if isinstance(item, Job):
                break
            self._urgent -= item.body.AT_ONCE
            group.append(item)
            self._queue.popleft()
        return group

    def _refusal(self) -> LogError | None:
        if self._closing:
            return LogClosed()
        if len(self._queue) >= MAX_WAITING:
            return LogUnwritable(
                f"{MAX_WAITING} records wait for a disk that does not answer: check the disk"
            )
        return None

    def _is_due(self) -> bool:
        return (
            self._closing
            or self._urgent > 0
            or len(self._queue) >= GROUP_ROWS
            or (bool(self._queue) and self._seconds_left() == 0)
        )

    def _seconds_left(self) -> float | None:
        if not self._queue:
            return None
        return max(0.0, self._oldest_waits_since + GROUP_SECONDS - time.monotonic())
