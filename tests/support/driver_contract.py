"""What every tag driver must do, whatever it speaks. A driver's test class inherits these tests.

The device is real, and reached through a cable (tests/support/link.py) that the tests pull and cut.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from drivers.driver import TagDriver, TagDriverConfig
from drivers.errors import DeviceError, DeviceMisconfigured, DeviceUnreachable
from drivers.reading import Quality, Reading
from tests.support.link import Link, LinkState, link

TIMEOUT_SECONDS = 0.6
SLACK_SECONDS = 1.5
"""On a machine that does other things as well."""


class DriverContract(ABC):
    """Subclasses say where the device is and how its driver is configured."""

    SILENCE_SECONDS = TIMEOUT_SECONDS
    """How long the driver may believe in a device that went silent."""

    @pytest.fixture
    @abstractmethod
    def device_port(self) -> int:
        """The real device's port on 127.0.0.1."""

    @abstractmethod
    def config(self, port: int) -> TagDriverConfig:
        """The driver's configuration with TIMEOUT_SECONDS, for the device at that port."""

    @pytest.fixture
    async def cable(self, device_port: int) -> AsyncIterator[Link]:
        async with link(device_port) as cable:
            yield cable

    # --- in good order ------------------------------------------------------------------------------------

    async def test_every_tag_of_the_config_gives_readings(self, cable: Link) -> None:
        config = self.config(cable.port)
        async with config.open() as driver:
            seen = await _first_of_each(driver, set(config.tag_units))
        assert {name: reading.quality for name, reading in seen.items()} == dict.fromkeys(seen, Quality.GOOD)

    async def test_making_the_config_touches_no_device(self, cable: Link) -> None:
        self.config(cable.port)
        assert cable.accepted == 0

    async def test_opening_again_works_many_times_and_leaks_nothing(self, cable: Link) -> None:
        config = self.config(cable.port)
        await _open_and_read(config)
        descriptors = _open_descriptors()
        for _ in range(5):
            await _open_and_read(config)
        await _until(lambda: cable.open_connections == 0)
        assert _open_descriptors() <= descriptors

    async def test_two_instances_share_nothing(self, cable: Link) -> None:
        config = self.config(cable.port)
        async with config.open() as stays:
            async with config.open() as goes:
                await _one(goes)
            await _one(stays)
            with pytest.raises(DeviceError):
                await _read_on(goes)
            await _one(stays)

    async def test_a_tag_that_is_not_writable_is_refused_and_nothing_is_written(self, cable: Link) -> None:
        config = self.config(cable.port)
        writable, not_writable = min(config.writable_tags), min(config.tag_units)
        assert not_writable not in config.writable_tags
        async with config.open() as driver:
            before = (await _first_of_each(driver, {writable}))[writable].value
            with pytest.raises(DeviceMisconfigured, match=not_writable):
                await driver.write({writable: 7, not_writable: 1})
            assert (await _first_of_each(driver, {writable}, fresh=config))[writable].value == before

    async def test_a_written_value_is_read_back(self, cable: Link) -> None:
        config = self.config(cable.port)
        writable = min(config.writable_tags)
        async with config.open() as driver:
            await driver.write({writable: 21})
            await driver.write({writable: 42})
            seen = await _first_of_each(driver, {writable}, fresh=config)
        assert seen[writable].value == 42

    # --- when it goes wrong -------------------------------------------------------------------------------

    async def test_a_dead_address_raises_within_the_timeout(self, cable: Link) -> None:
        await cable.cut()
        async with _takes_at_most(TIMEOUT_SECONDS):
            with pytest.raises(DeviceUnreachable):
                await _open_and_read(self.config(cable.port))

    async def test_a_device_that_accepts_and_never_answers_raises(self) -> None:
        async with link(None) as silent, _takes_at_most(TIMEOUT_SECONDS * 2):
            with pytest.raises(DeviceUnreachable):
                await _open_and_read(self.config(silent.port))

    async def test_a_device_that_sends_noise_raises(self, cable: Link) -> None:
        cable.become(LinkState.NOISY)
        async with _takes_at_most(TIMEOUT_SECONDS * 2):
            with pytest.raises(DeviceError):
                await _open_and_read(self.config(cable.port))

    async def test_a_link_that_is_cut_ends_the_readings_with_an_error(self, cable: Link) -> None:
        async with self.config(cable.port).open() as driver:
            await _one(driver)
            await cable.cut()
            async with _takes_at_most(TIMEOUT_SECONDS):
                with pytest.raises(DeviceUnreachable):
                    await _read_on(driver)

    async def test_a_device_that_falls_silent_ends_the_readings_with_an_error(self, cable: Link) -> None:
        async with self.config(cable.port).open() as driver:
            await _one(driver)
            cable.become(LinkState.PULLED)
            async with _takes_at_most(self.SILENCE_SECONDS):
                with pytest.raises(DeviceUnreachable):
                    await _read_on(driver)

    async def test_a_driver_that_died_never_speaks_again_also_when_late_answers_arrive(
        self, cable: Link
    ) -> None:
        config = self.config(cable.port)
        async with config.open() as driver:
            await _one(driver)
            cable.become(LinkState.PULLED)
            with pytest.raises(DeviceError):
                await _read_on(driver)
            cable.become(LinkState.WHOLE)
            with pytest.raises(DeviceError):
                await _one(driver)
            with pytest.raises(DeviceError):
                await driver.write({min(config.writable_tags): 1})

    async def test_a_write_to_a_silent_device_raises(self, cable: Link) -> None:
        config = self.config(cable.port)
        async with config.open() as driver:
            cable.become(LinkState.PULLED)
            async with _takes_at_most(TIMEOUT_SECONDS):
                with pytest.raises(DeviceUnreachable):
                    await driver.write({min(config.writable_tags): 1})

    async def test_cancelling_leaves_no_task_and_no_connection(self, cable: Link) -> None:
        before = asyncio.all_tasks()
        async with asyncio.timeout(SLACK_SECONDS + TIMEOUT_SECONDS):
            opened = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(_keep_reading(self.config(cable.port), opened))
                await opened.wait()
                reading.cancel()
        await _until(lambda: asyncio.all_tasks() <= before and cable.open_connections == 0)

    async def test_cancelling_while_it_connects_leaves_no_task_and_no_connection(self) -> None:
        async with link(None) as silent:
            before = asyncio.all_tasks()
            async with asyncio.TaskGroup() as group:
                opening = group.create_task(_open_and_read(self.config(silent.port)))
                await _until(lambda: silent.open_connections > 0)
                opening.cancel()
            await _until(lambda: asyncio.all_tasks() <= before and silent.open_connections == 0)

    async def test_closing_does_not_wait_for_a_silent_device(self, cable: Link) -> None:
        async with _takes_at_most(2 * TIMEOUT_SECONDS), self.config(cable.port).open() as driver:
            await _one(driver)
            cable.become(LinkState.PULLED)

    async def test_a_device_that_comes_back_is_read_again_by_a_new_driver(self, cable: Link) -> None:
        config = self.config(cable.port)
        await _open_and_read(config)
        await cable.cut()
        with pytest.raises(DeviceUnreachable):
            await _open_and_read(config)
        await cable.mend()
        await _open_and_read(config)


# --- steps ------------------------------------------------------------------------------------------------


class _takes_at_most:  # noqa: N801 - reads as the sentence that it is
    def __init__(self, seconds: float) -> None:
        self._allowed_seconds = seconds + SLACK_SECONDS
        self._began = 0.0

    async def __aenter__(self) -> None:
        self._began = time.monotonic()

    async def __aexit__(self, *_: object) -> None:
        assert time.monotonic() - self._began < self._allowed_seconds


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _one(driver: TagDriver) -> Reading:
    async with asyncio.timeout(5):
        async for reading in driver.readings():
            return reading
    raise AssertionError("the readings ended in silence")


async def _first_of_each(
    driver: TagDriver, names: set[str], fresh: TagDriverConfig | None = None
) -> dict[str, Reading]:
    """The first reading of each tag, by a new connection for `fresh`."""
    if fresh is not None:
        async with fresh.open() as other:
            return await _first_of_each(other, names)
    seen: dict[str, Reading] = {}
    async with asyncio.timeout(5):
        async for reading in driver.readings():
            if reading.tag in names:
                seen.setdefault(reading.tag, reading)
            if seen.keys() == names:
                return seen
    raise AssertionError("the readings ended in silence")


async def _open_and_read(config: TagDriverConfig) -> None:
    async with config.open() as driver:
        await _one(driver)


async def _read_on(driver: TagDriver) -> None:
    async for reading in driver.readings():
        assert reading.tag
    raise AssertionError("the readings ended in silence")


async def _keep_reading(config: TagDriverConfig, opened: asyncio.Event) -> None:
    async with config.open() as driver:
        async for _ in driver.readings():
            opened.set()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.01)
