"""The box's own log and uplink against the receiver's own server, over HTTP, through two outages."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tenacity import wait_fixed

from cloud_receiver.client import ReceivedRecord, ReceiverClient
from sync import database, identity
from sync.audit_log import AuditLog
from sync.record import ClockQuality, LotStarted, Stamp
from sync.uplink import Uplink
from tests.support.receiver_process import ServerProcess, served, told
from tests.support.receiver_site import SITE

BOX = "line-1"
DEADLINE_SECONDS = 60.0


class WrongClock:
    """The clock of a box that believes it is 1999."""

    def stamp(self) -> Stamp:
        at = datetime(1999, 1, 1, tzinfo=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return Stamp(at, "boot-1", time.monotonic_ns(), ClockQuality.UNSET)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def serving(made: AbstractContextManager[ServerProcess]) -> AsyncIterator[ServerProcess]:
    """A server process, started and stopped beside the loop."""
    with ExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, made)
        yield server
        await asyncio.to_thread(stack.close)


@asynccontextmanager
async def running_box(storage: Path, who: identity.Identity) -> AsyncIterator[tuple[AuditLog, Uplink]]:
    """A log with its uplink running."""
    log = AuditLog.open(storage, BOX, who.log_key, WrongClock())
    uplink = Uplink(log, who, WrongClock(), wait=wait_fixed(0.05), checkpoint_seconds=0.05)
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(uplink.run())
            yield log, uplink
            sending.cancel()
    finally:
        await asyncio.to_thread(log.close)


async def append(log: AuditLog, count: int) -> int:
    """The seq of the last of some new records."""
    seqs = await asyncio.gather(*(log.append(LotStarted(lot=f"coil-{at}")) for at in range(count)))
    return max(seqs)


def lines_of(storage: Path) -> list[bytes]:
    with database.reading(storage / "box.db") as connection:
        return [line for (line,) in connection.execute("SELECT CAST(line AS BLOB) FROM log ORDER BY seq")]


def held(url: str, key: str) -> list[ReceivedRecord]:
    with ReceiverClient(url, key) as receiver:
        return list(receiver.records(box=BOX))


@pytest.mark.slow
async def test_a_log_arrives_whole_and_once_through_kills_of_the_receiver_and_a_restart_of_the_box(
    tmp_path: Path,
) -> None:
    data, storage = tmp_path / "receiver", tmp_path / "box"
    where = ("--data", str(data))
    token = (await asyncio.to_thread(told, "token", "create", "--site", SITE, *where))["token"]
    reader = ("key", "create", "--role", "reader", "--name", "team")
    key = (await asyncio.to_thread(told, *reader, *where))["key"]

    async with serving(served(data, dies="after-commit")) as dying:
        async with httpx.AsyncClient(base_url=dying.url) as client:
            who = await identity.enrol(client, storage / "identity", BOX, SITE, token)
        port = int(dying.url.rsplit(":", 1)[1])
        async with running_box(storage, who) as (log, uplink):
            await append(log, 20)
            # it takes the first batch, commits, and dies before the receipt is sent
            assert await asyncio.to_thread(dying.process.wait, DEADLINE_SECONDS) == -9
            await until(lambda: "cannot be reached" in uplink.state.detail)
            assert uplink.state.held_through_seq == 0

            async with serving(served(data, port=port)) as server:
                last = await append(log, 20)
                await until(lambda: uplink.state.held_through_seq >= last)
                server.kill()
            last = await append(log, 300)
            await until(lambda: not uplink.state.connected)
            assert uplink.state.backlog_records >= 300

    async with serving(served(data, port=port)) as server:
        async with running_box(storage, who) as (log, uplink):
            assert log.receipted_through < last
            last = await append(log, 10)
            await until(lambda: uplink.state.held_through_seq >= last)
            assert not uplink.state.forked
        found = await asyncio.to_thread(held, server.url, key)
        expected = lines_of(storage)
        assert [one.record.line for one in found] == expected[: len(found)]
        assert len(found) >= last >= 350
