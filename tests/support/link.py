"""A network cable between a driver and its device, that a test can pull, cut and cross with another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto


class LinkState(Enum):
    """What the cable does with what is sent to it."""

    WHOLE = auto()
    PULLED = auto()
    """Connections stay open, new ones are accepted, and nothing gets through. What waits is kept."""
    NOISY = auto()
    """Every byte of the device is replaced by 0xA5."""


class Link:
    """A TCP relay on 127.0.0.1. `port` is where the driver connects."""

    def __init__(self, device_port: int | None) -> None:
        self.port = 0
        self.state = LinkState.WHOLE
        self.accepted = 0
        self._device_port = device_port
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._server: asyncio.Server | None = None

    @property
    def open_connections(self) -> int:
        """Connections of drivers that are open now."""
        return len(self._tasks)

    def become(self, state: LinkState) -> None:
        """From now on."""
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def cut(self) -> None:
        """Break every connection off, and accept none until `mend`."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        for writer in self._writers:
            writer.transport.abort()

    async def mend(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _relay(self, driver: asyncio.StreamReader, to_driver: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._tasks.add(task := asyncio.current_task())
        self._writers.add(to_driver)
        try:
            if self._device_port is None:
                await driver.read()
                return
            device, to_device = await asyncio.open_connection("127.0.0.1", self._device_port)
            self._writers.add(to_device)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(driver, to_device, from_device=False))
                group.create_task(self._pass(device, to_driver, from_device=True))
        except* OSError:
            pass  # one end is gone: so is the other
        finally:
            to_driver.transport.abort()
            self._tasks.discard(task)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, from_device: bool
    ) -> None:
        while octets := await source.read(65536):
            while self.state is LinkState.PULLED:
                await self._changed.wait()
            noisy = from_device and self.state is LinkState.NOISY
            sink.write(b"\xa5" * len(octets) if noisy else octets)
            await sink.drain()
        sink.transport.abort()

    async def _close(self) -> None:
        self.become(LinkState.WHOLE)
        await self.cut()
        await asyncio.gather(*[task for task in self._tasks if task], return_exceptions=True)


@asynccontextmanager
async def link(device_port: int | None) -> AsyncIterator[Link]:
    """A link to a device on 127.0.0.1; to one that never answers for None."""
    cable = Link(device_port)
    await cable.mend()
    try:
        yield cable
    finally:
        await cable._close()
