"""One reading, from a register in a PLC to a line at the receiver. Read it to learn the way.

register ─► Modbus driver ─► line ─► alarm, tag window ─► log ─► batch ─► receiver
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from provisioning.demo_site import BOX_ID, Site
from sync import chain, record
from sync.database import reading
from sync.verify import verify_log
from ui.backend import AcknowledgeCommand, BoxView

_T = TypeVar("_T")


def test_a_reading_goes_from_a_register_to_the_receiver(site: Site) -> None:
    # The plant's PLC holds the coolant's temperature in input register 10, in tenths of a degree.
    register = asyncio.run(_input_register(site.ports["modbus_port"], 10))

    # The driver polls it; the line holds the latest value, in degrees, with its unit and age.
    tag = _wait_for(site, lambda view: next(t for t in view.tags if t.name == "coolant_celsius"))
    assert tag.unit == "°C"
    assert not tag.stale
    assert isinstance(tag.value, float)
    assert abs(tag.value - register / 10) < 30

    # Above 48 °C it is an alarm, which says what to do, and which a person acknowledges.
    alarm = _wait_for(site, lambda view: next((a for a in view.alarms if a.alarm == "coolant-hot"), None))
    assert "cooler" in alarm.action
    acknowledged_seq = _acknowledge(site, alarm.raised_seq)

    # Every ten seconds the readings become one record, in the log on the box's own disk.
    line = _wait_for(site, lambda _view: _newest_line(site.storage / "box.db", "tags"))
    window = record.typed_body(record.decode(line))
    assert isinstance(window, record.Tags)
    coolant = window.tags["coolant_celsius"]
    assert coolant.count > 10
    assert coolant.min is not None
    assert coolant.max is not None
    assert 0 < coolant.min <= coolant.max < 100

    # The uplink ships it; what the receiver holds is the same line, byte for byte.
    held = _wait_for(site, lambda _view: _held_line(site, record.decode(line).seq))
    assert held == line

    # What the person did is a record as well, and it is there too.
    decision = json.loads(_wait_for(site, lambda _view: _held_line(site, acknowledged_seq)))
    assert decision["kind"] == "alarm.acknowledged"
    assert decision["body"]["by"] == "ana"

    # In the end both ends hold the same chain.
    site.stop("box")
    report = verify_log(site.storage / "box.db", None)
    assert report.ok, report
    (box,) = site.ask_receiver("/v1/boxes").json()["boxes"]
    lines = [_held_line(site, seq) for seq in range(1, report.records + 1)]
    head = chain.chain_start(BOX_ID, box["epochs"][0]["epoch"])
    for each in lines:
        assert each is not None
        head = chain.chain_step(head, chain.leaf_hash(each))
    assert head.hex() == box["epochs"][0]["head"]


def _wait_for(site: Site, look: Callable[[BoxView], _T | None]) -> _T:
    found: list[_T] = []

    def holds() -> bool:
        view = site.status()
        seen = None if view is None else look(view)
        if seen is not None:
            found.append(seen)
        return seen is not None

    site.wait_for("it", holds, 40.0)
    return found[0]


async def _input_register(port: int, address: int) -> int:
    from pymodbus.client import AsyncModbusTcpClient

    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    try:
        answer = await client.read_input_registers(address, count=1, device_id=1)
        return int(answer.registers[0])
    finally:
        client.close()


def _acknowledge(site: Site, raised_seq: int) -> int:
    transport = httpx.HTTPTransport(uds=str(site.storage / "run" / "control.sock"))
    command = AcknowledgeCommand(raised_seq=raised_seq, by="ana")
    with httpx.Client(transport=transport, base_url="http://box") as client:
        answer = client.post("/v1/alarms/acknowledge", json=command.model_dump())
    return int(answer.raise_for_status().json()["seq"])


def _newest_line(database: Path, kind: str) -> bytes | None:
    with reading(database) as connection:
        row = connection.execute(
            "SELECT CAST(line AS BLOB) FROM log WHERE kind = ? ORDER BY seq DESC LIMIT 1", (kind,)
        ).fetchone()
    return None if row is None else bytes(row[0])


def _held_line(site: Site, seq: int) -> bytes | None:
    return site.held_lines().get(seq)
