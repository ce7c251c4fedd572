"""The link between the vision process and the appliance."""

import asyncio
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.control_api import bound
from appliance.vision_link import (
    MAX_MESSAGE_BYTES,
    CameraBack,
    CameraLost,
    Counts,
    Judged,
    LinkBroken,
    LinkSender,
    Message,
    Preview,
    receive,
)
from inference.detection import Box, Detection
from sync.record import Verdict

_JUDGED = Judged(
    camera="top",
    frame=7,
    verdict=Verdict.NG,
    detections=(Detection("scratch", 0.9, Box(1.0, 2.0, 3.0, 4.0)),),
    captured_wall_ns=1,
    arrived_mono_ns=2,
    judged_mono_ns=3,
    width_px=1280,
    height_px=1024,
    stage_ms={"infer": 12.5},
    counts=Counts(7, {"superseded": 1}, ((3, 3),)),
)


async def _receive_all(path: Path, send: Callable[[], None]) -> list[Message]:
    with bound(path) as listener:
        listener.listen(1)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        sender = threading.Thread(target=send)
        sender.start()
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        try:
            return [message async for message in receive(reader)]
        finally:
            writer.close()
            await writer.wait_closed()
            sender.join(5)


async def test_every_message_arrives_as_it_was_sent(tmp_path: Path) -> None:
    sent: list[Message] = [
        CameraBack("top"),
        _JUDGED,
        CameraLost("top", "gone"),
        Preview("top", 7, b"jpeg" * 50_000),
    ]

    def send() -> None:
        link = LinkSender(tmp_path / "v.sock")
        for message in sent:
            link.send(message)
        link.close()

    assert await _receive_all(tmp_path / "v.sock", send) == sent


async def test_a_sender_that_dies_in_the_middle_of_a_message_ends_the_stream(tmp_path: Path) -> None:
    def send() -> None:
        link = LinkSender(tmp_path / "v.sock")
        link.send(CameraBack("top"))
        link._socket.sendall(struct.pack(">I", 100) + b"half")
        link.close()

    assert await _receive_all(tmp_path / "v.sock", send) == [CameraBack("top")]


async def test_a_message_that_claims_to_be_huge_is_not_waited_for(tmp_path: Path) -> None:
    def send() -> None:
        link = LinkSender(tmp_path / "v.sock")
        link._socket.sendall(struct.pack(">I", MAX_MESSAGE_BYTES + 1))
        link.close()

    with pytest.raises(LinkBroken, match="bytes from the vision process"):
        await _receive_all(tmp_path / "v.sock", send)


async def test_the_sender_notices_that_the_appliance_is_gone(tmp_path: Path) -> None:
    noticed = threading.Event()

    def send() -> None:
        link = LinkSender(tmp_path / "v.sock")
        link.wait_until_gone()
        noticed.set()
        link.close()

    with bound(tmp_path / "v.sock") as listener:
        listener.listen(1)
        sender = threading.Thread(target=send)
        sender.start()
        connection, _ = listener.accept()
        connection.close()
        assert noticed.wait(5)
        sender.join(5)


def test_the_socket_file_is_its_owners_alone_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "run" / "v.sock"
    with bound(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
