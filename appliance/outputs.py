"""Verdicts to the PLC: the registers of the block first, the NG coil last, and a heartbeat all the while.

Nothing is ever written that is not configured. A PLC that is slow or gone costs verdicts to it, which are
counted; it never holds up the line.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from appliance.config import OutputSection
from appliance.latency import Latencies
from appliance.supervisor import Put, SupervisedDevice
from appliance.vision_link import Judged
from drivers.errors import DeviceError
from drivers.reading import TagValue
from sync.record import OutputWritten, Verdict

NOT_INSPECTING = 0
VERDICT_CODES = {Verdict.OK: 1, Verdict.NG: 2, Verdict.CHECK: 3}
_WAITING_VERDICTS = 32

log = structlog.get_logger()


class Outputs:
    """The verdict block of one PLC."""

    def __init__(
        self,
        section: OutputSection,
        device: SupervisedDevice,
        put: Put,
        latencies: Latencies,
        inspecting: Callable[[], bool],
        position_m: Callable[[int], float | None],
    ) -> None:
        self._section = section
        self._device = device
        self._put = put
        self._latencies = latencies
        self._inspecting = inspecting
        self._position_m = position_m
        self._waiting: asyncio.Queue[Judged] = asyncio.Queue(_WAITING_VERDICTS)
        self._sequence = 0
        self._heartbeat = 0
        self.overruns = 0

    def put(self, judged: Judged) -> None:
        """Hand over a verdict; when too many wait for the PLC, the oldest is given up and counted."""
        if self._waiting.full():
            self._waiting.get_nowait()
            self.overruns += 1
        self._waiting.put_nowait(judged)

    async def keep_writing(self) -> None:
        """Write verdicts as they come, and the heartbeat between them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._verdicts())
            group.create_task(self._heartbeats())

    async def say_stopped(self) -> None:
        """Tell the PLC, if it listens, that nobody inspects any more: for an orderly stop."""
        await self._write({self._section.verdict_tag: NOT_INSPECTING})

    async def _verdicts(self) -> None:
        while True:
            judged = await self._waiting.get()
            self._sequence = (self._sequence + 1) % 65_536
            section = self._section
            values: dict[str, TagValue] = {
                section.sequence_tag: self._sequence,
                section.verdict_tag: VERDICT_CODES[judged.verdict],
            }
            position_m = self._position_m(judged.arrived_mono_ns)
            if section.position_tag is not None:
                values[section.position_tag] = 0 if position_m is None else max(0, round(position_m * 1000))
            values[section.ng_tag] = judged.verdict is Verdict.NG
            if await self._write(values):
                self._latencies.add({"output": (time.monotonic_ns() - judged.judged_mono_ns) / 1e6})
                if judged.verdict is not Verdict.OK:
                    self._put(
                        OutputWritten(
                            device=section.device, values=values, camera=judged.camera, frame=judged.frame
                        )
                    )
            else:
                self.overruns += 1

    async def _heartbeats(self) -> None:
        while True:
            self._heartbeat = (self._heartbeat + 1) % 65_536
            values: dict[str, TagValue] = {self._section.heartbeat_tag: self._heartbeat}
            if not self._inspecting():
                values[self._section.verdict_tag] = NOT_INSPECTING
            await self._write(values)
            await asyncio.sleep(self._section.heartbeat_seconds)

    async def _write(self, values: dict[str, TagValue]) -> bool:
        """Whether the PLC acknowledged. Its supervisor notices and records when it is gone."""
        driver = self._device.driver
        if driver is None:
            return False
        try:
            await driver.write(values)
        except DeviceError as error:
            log.debug("output not written", error=str(error))
            return False
        return True
