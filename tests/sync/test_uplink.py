import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tenacity import wait_fixed

from sync import chain, identity, wire
from sync.audit_log import AuditLog, LogUnwritable
from sync.uplink import REFUSED_SECONDS, Uplink, open_client
from tests.support.box_log import (
    BOX,
    RECEIPT_KEY,
    TickingClock,
    coverage,
    lines,
    long_record,
    open_log,
    opened,
    rows,
)
from tests.support.receiver_peer import (
    TOKEN,
    Fault,
    Mark,
    ReceiverPeer,
    answering,
    problem,
    reply_lost,
    unreachable,
)


@dataclass
class Shipping:
    """An uplink at work, its log and its receiver; `naps` are the waits it asked for, in seconds."""

    log: AuditLog
    peer: ReceiverPeer
    uplink: Uplink
    naps: list[float] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)

    async def until_all_is_held(self) -> None:
        await self.until(lambda: self.uplink.state.backlog_records == 0)


@asynccontextmanager
async def shipping(tmp_path: Path, peer: ReceiverPeer) -> AsyncIterator[Shipping]:
    """A box, enrolled, with its uplink running. Waits take no time."""
    folder = tmp_path / "identity"
    enrolled = identity.load_or_create(folder, BOX)
    if enrolled.receiver is None:
        faults, peer.faults = peer.faults, type(peer.faults)()
        async with peer.client() as client:
            enrolled = await identity.enrol(client, folder, BOX, "plant-7", TOKEN)
        peer.faults = faults
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await asyncio.sleep(0)

    log = open_log(tmp_path / "box", key=enrolled.log_key)
    uplink = Uplink(
        log,
        enrolled,
        TickingClock(),
        make_client=peer.client,
        wait=wait_fixed(1.5),
        sleep=nap,
        checkpoint_seconds=0.0,
    )
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run())
            yield Shipping(log, peer, uplink, naps)
            task.cancel()
    finally:
        log.close()


def held_lines(peer: ReceiverPeer) -> list[bytes]:
    """What the receiver made of the batches that it gave receipts for."""
    batches = sorted(
        (wire.decode_batch(packed) for packed in peer.receipts), key=lambda batch: batch.header.first
    )
    return [line for batch in batches for line in batch.lines]


async def test_records_are_held_by_the_receiver_soon_after_they_are_appended(tmp_path: Path) -> None:
    async with shipping(tmp_path, ReceiverPeer()) as box:
        assert not box.uplink.state.connected
        for _ in range(3):
            await box.log.append(coverage())
            await box.until_all_is_held()
        state = box.uplink.state
        assert state.connected
        assert state.held_through_seq == box.log.receipted_through == 3
        assert state.last_receipt_mono is not None
        assert held_lines(box.peer) == lines(box.log.path)


async def test_the_cosigned_note_is_kept_on_the_box(tmp_path: Path) -> None:
    async with shipping(tmp_path, ReceiverPeer()) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        ((note, cosigned),) = rows(box.log.path, "SELECT note, cosigned FROM checkpoints")
        body, seconds = chain.open_cosignature(str(cosigned).encode(), RECEIPT_KEY)
        assert body == chain.note_body(str(note).encode())
        assert seconds == box.peer.cosigned_at


async def test_through_every_kind_of_trouble_nothing_is_lost_and_nothing_doubled(tmp_path: Path) -> None:
    chance = random.Random(3)
    troubles: list[Fault] = [
        unreachable,
        reply_lost,
        answering(problem(503, "busy", "later")),
        answering(httpx.Response(502, text="<html>bad gateway</html>")),
        answering(httpx.Response(200, text="<html>log in to the network</html>")),
        answering(httpx.Response(200, content=b"x" * 1_000_000)),
        lambda _request, _answer: None,
    ]
    peer = ReceiverPeer()
    peer.faults.extend(chance.choice(troubles) for _ in range(60))
    async with shipping(tmp_path, peer) as box:
        for _ in range(12):
            for future in [box.log.submit(coverage()) for _ in range(chance.randrange(1, 40))]:
                await asyncio.wrap_future(future)
        await box.until_all_is_held()
        while peer.faults:
            await box.log.append(coverage())
            await box.until_all_is_held()
        assert held_lines(peer) == lines(box.log.path)
        assert peer.held(box.log.head.epoch) == box.log.head.seq


async def test_after_a_lost_reply_the_same_bytes_are_sent_again(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    peer.faults.append(reply_lost)
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        assert len(peer.posted) == 2
        assert peer.posted[0] == peer.posted[1]
        assert len(peer.receipts) == 1


async def test_a_receipt_forged_by_another_key_moves_nothing(tmp_path: Path) -> None:
    other = chain.SignerKey(RECEIPT_KEY.name, Ed25519PrivateKey.generate())
    peer = ReceiverPeer(receipt_signer=other)
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until(lambda: "does not hold" in box.uplink.state.detail)
        assert box.log.receipted_through == 0
        assert not box.uplink.state.connected
        assert box.naps[-1] >= REFUSED_SECONDS


async def test_a_receipt_for_another_checkpoint_moves_nothing(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        (old,) = peer.receipts.values()
        peer.faults.append(answering(httpx.Response(200, content=old)))
        await box.log.append(coverage())
        await box.until(lambda: "another checkpoint" in box.uplink.state.detail)
        await box.until_all_is_held()


async def test_a_restored_receiver_is_given_again_what_it_lost(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        for _ in range(4):
            await box.log.append(coverage())
            await box.until_all_is_held()
        epoch = box.log.head.epoch
        backup = wire.decode_batch(peer.posted[0])
        key = chain.VerifierKey(chain.checkpoint_origin(BOX, epoch), box.log._signer.private_key.public_key())
        head, frontier = wire.verify_batch(backup, key, chain.Frontier())
        peer.marks[epoch] = Mark(1, head, frontier)
        posted = list(peer.posted)
        peer.posted.clear()
        await box.log.append(coverage())
        await box.until(lambda: peer.held(epoch) == 5)
        await box.until_all_is_held()
        assert posted[1:] == peer.posted[1:-1]
        assert not box.uplink.state.forked


async def test_a_receiver_that_lost_everything_is_given_everything(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        for _ in range(3):
            await box.log.append(coverage())
            await box.until_all_is_held()
        peer.marks.clear()
        await box.log.append(coverage())
        await box.until(lambda: peer.held(box.log.head.epoch) == 4)
        assert held_lines(peer) == lines(box.log.path)


async def test_a_fork_stops_sending_and_nothing_else(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        peer.marks[box.log.head.epoch].head = bytes(32)
        await box.log.append(coverage())
        await box.until(lambda: box.uplink.state.forked)
        posted = len(peer.posted)
        assert "Start a new epoch" in box.uplink.state.detail
        assert await box.log.append(coverage()) == 3
        assert box.uplink.state.backlog_records == 2
        assert len(peer.posted) == posted


async def test_a_receiver_that_holds_more_than_this_log_is_a_fork(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        mark = Mark(40, bytes(32), chain.Frontier())
        peer.faults.append(answering(problem(409, "overlap", "held", box.log.head.epoch, mark)))
        await box.log.append(coverage())
        await box.until(lambda: box.uplink.state.forked)
        assert "does not reach that far" in box.uplink.state.detail


async def test_a_gap_where_there_is_none_is_no_endless_loop(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        epoch = box.log.head.epoch
        mark = Mark(0, chain.chain_start(BOX, epoch), chain.Frontier())
        peer.faults.append(answering(problem(409, "gap", "missing", epoch, mark)))
        await box.log.append(coverage())
        await box.until_all_is_held()
        assert any(nap >= REFUSED_SECONDS for nap in box.naps)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, 30.0),
        ({"Retry-After": "1000000"}, 3600.0),
        ({"Retry-After": "soon"}, 1.5),
        ({}, 1.5),
    ],
)
async def test_the_receiver_says_when_to_come_back(
    tmp_path: Path, headers: dict[str, str], seconds: float
) -> None:
    peer = ReceiverPeer()
    peer.faults.append(answering(httpx.Response(503, headers=headers)))
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        (nap,) = [nap for nap in box.naps if nap > 0]
        assert seconds <= nap <= seconds * 1.1


async def test_a_refusal_is_told_and_tried_again_slowly(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    peer.faults.append(answering(problem(403, "revoked", "box 'line-1' was revoked; enrol it again")))
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        assert max(box.naps) >= REFUSED_SECONDS


async def test_trouble_is_told_in_a_sentence(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    peer.faults.extend([unreachable] * 1000)
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until(lambda: "cannot be reached (no route to host)" in box.uplink.state.detail)
        assert box.uplink.state.backlog_records == 1
        peer.faults.clear()
        await box.until_all_is_held()
        assert box.uplink.state.connected


async def test_an_outage_does_not_fill_the_log_with_checkpoints(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    peer.faults.extend([unreachable] * 100_000)
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until(lambda: len(box.naps) > 3)
        for _ in range(50):
            await box.log.append(coverage())
        peer.faults.clear()
        await box.until_all_is_held()
        assert len(peer.receipts) == 2


async def test_a_receipt_that_cannot_be_stored_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        accept, refusals = box.log.accept_receipt, iter([LogUnwritable("the disk is full: make room")])

        async def full_once(size: int, receipt: bytes) -> int:
            for refusal in refusals:
                raise refusal
            return await accept(size, receipt)

        monkeypatch.setattr(box.log, "accept_receipt", full_once)
        await box.log.append(coverage())
        await box.until_all_is_held()
        assert len(peer.posted) == 2
        assert box.log.receipted_through == 1


async def test_a_restart_goes_on_from_the_last_receipt(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
    async with shipping(tmp_path, peer) as box:
        assert box.uplink.state.held_through_seq == 1
        await box.log.append(coverage())
        await box.until_all_is_held()
        assert len(peer.posted) == 2


async def test_a_backlog_goes_out_in_batches_under_the_cap(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with shipping(tmp_path, peer) as box:
        for future in [box.log.submit(long_record(200_000)) for _ in range(50)]:
            await asyncio.wrap_future(future)
        await box.until_all_is_held()
        assert len(peer.receipts) >= 3
        assert held_lines(peer) == lines(box.log.path)


async def test_a_closed_log_ends_the_uplink(tmp_path: Path) -> None:
    async with shipping(tmp_path, ReceiverPeer()) as box:
        await box.log.append(coverage())
        await box.until_all_is_held()
        await asyncio.to_thread(box.log.close)


async def test_a_mistake_in_the_program_is_not_taken_for_trouble(tmp_path: Path) -> None:
    def mistaken(_request: httpx.Request, _answer: httpx.Response | None) -> httpx.Response | None:
        raise AssertionError("a mistake")

    peer = ReceiverPeer()
    peer.faults.append(mistaken)

    async def ship() -> None:
        async with shipping(tmp_path, peer) as box:
            await box.log.append(coverage())
            await box.until(lambda: False)

    with pytest.raises(ExceptionGroup) as caught:
        await ship()
    assert caught.group_contains(AssertionError)


def test_a_box_that_is_not_enrolled_has_no_uplink(tmp_path: Path) -> None:
    box = identity.load_or_create(tmp_path / "identity", BOX)
    with opened(tmp_path / "box") as log, pytest.raises(identity.IdentityError, match="alumiguard enrol"):
        Uplink(log, box, TickingClock())
    with pytest.raises(identity.IdentityError, match="alumiguard enrol"):
        open_client(box)


async def test_the_shipped_client_shows_the_boxes_certificate_and_takes_no_proxy_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with ReceiverPeer().client() as client:
        enrolled = await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
    async with open_client(enrolled) as shipped:
        assert str(shipped.base_url) == "http://receiver.example"
        assert shipped.trust_env is False
