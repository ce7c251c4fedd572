"""Verdicts to the PLC."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

import appliance
from appliance.config import load
from appliance.latency import Latencies
from appliance.outputs import Outputs
from appliance.supervisor import SupervisedDevice
from appliance.vision_link import Counts, Judged
from drivers.errors import DeviceUnreachable
from drivers.reading import TagValue
from sync.record import Body, OutputWritten, Verdict

_CONFIG = load(Path(appliance.__file__).parent / "profiles" / "surface.toml")


class _Plc:
    """Acknowledges every write and remembers it; or does not answer."""

    def __init__(self) -> None:
        self.written: asyncio.Queue[dict[str, TagValue]] = asyncio.Queue()
        self.gone = False

    async def write(self, values: Mapping[str, TagValue]) -> None:
        if self.gone:
            raise DeviceUnreachable("no answer")
        self.written.put_nowait(dict(values))


class _Bench:
    def __init__(self) -> None:
        assert _CONFIG.output is not None
        self.plc = _Plc()
        self.put: list[Body] = []
        self.inspecting = True
        device = SupervisedDevice(_CONFIG.devices[0], self.put.append, lambda _r: None, lambda _n, _g: None)
        device.driver = SimpleNamespace(write=self.plc.write)
        self.outputs = Outputs(
            _CONFIG.output,
            device,
            self.put.append,
            Latencies(),
            lambda: self.inspecting,
            lambda _mono_ns: 12.3456,
        )

    async def next_block(self) -> dict[str, TagValue]:
        while "out_ng" not in (values := await self.plc.written.get()):
            pass
        return values


@pytest.fixture
def bench() -> _Bench:
    return _Bench()


def _judged(frame: int, verdict: Verdict) -> Judged:
    now = time.monotonic_ns()
    return Judged("top", frame, verdict, (), 0, now, now, 1280, 1024, {}, Counts(frame, {}))


async def test_registers_come_before_the_coil_and_the_sequence_counts(bench: _Bench) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(bench.outputs.keep_writing())
        for frame, verdict in enumerate((Verdict.OK, Verdict.NG, Verdict.CHECK), 1):
            bench.outputs.put(_judged(frame, verdict))
        blocks = [await bench.next_block() for _ in range(3)]
        task.cancel()
    assert all(list(block)[-1] == "out_ng" for block in blocks)
    assert [(b["out_sequence"], b["out_verdict"], b["out_ng"]) for b in blocks] == [
        (1, 1, False),
        (2, 2, True),
        (3, 3, False),
    ]
    assert {block["out_position_mm"] for block in blocks} == {12346}


async def test_only_verdicts_other_than_ok_become_records(bench: _Bench) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(bench.outputs.keep_writing())
        for frame, verdict in enumerate((Verdict.OK, Verdict.NG, Verdict.OK), 1):
            bench.outputs.put(_judged(frame, verdict))
        for _ in range(3):
            await bench.next_block()
        task.cancel()
    assert [body.frame for body in bench.put if isinstance(body, OutputWritten)] == [2]


async def test_the_heartbeat_says_when_nothing_is_inspected(bench: _Bench) -> None:
    bench.inspecting = False
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(bench.outputs.keep_writing())
        assert await bench.plc.written.get() == {"out_heartbeat": 1, "out_verdict": 0}
        task.cancel()


async def test_verdicts_for_a_plc_that_is_gone_are_counted_and_hold_up_nothing(bench: _Bench) -> None:
    bench.plc.gone = True
    for frame in range(100):
        bench.outputs.put(_judged(frame, Verdict.NG))
    assert bench.outputs.overruns == 100 - 32
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(bench.outputs.keep_writing())
        while bench.outputs.overruns < 100:
            await asyncio.sleep(0)
        task.cancel()
    assert not any(isinstance(body, OutputWritten) for body in bench.put)


async def test_an_orderly_stop_tells_the_plc_that_nobody_inspects(bench: _Bench) -> None:
    await bench.outputs.say_stopped()
    assert bench.plc.written.get_nowait() == {"out_verdict": 0}
