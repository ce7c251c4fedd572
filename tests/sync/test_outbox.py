from pathlib import Path

import pytest

from sync import chain, database, outbox, wire
from tests.support.box_log import BOX, LOG_VERIFIER, append_a_shift, cosigned, coverage, lines, opened


async def batches(path: Path) -> list[outbox.Outgoing]:
    found: list[outbox.Outgoing] = []
    while (batch := outbox.next_batch(path, found[-1].last if found else 0)) is not None:
        found.append(batch)
    return found


async def test_the_batches_are_the_stretches_between_checkpoints_and_verify(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await append_a_shift(log)
        key = chain.VerifierKey(chain.checkpoint_origin(BOX, log.head.epoch), LOG_VERIFIER.public_key)
        frontier = chain.Frontier()
        sent: list[bytes] = []
        for outgoing in await batches(log.path):
            batch = wire.decode_batch(outgoing.packed)
            assert (batch.header.first, batch.header.last) == (outgoing.first, outgoing.last)
            assert batch.note == outgoing.note
            _, frontier = wire.verify_batch(batch, key, frontier)
            sent += batch.lines
        held = lines(log.path)
        assert sent == held[: len(sent)]
        assert 0 < len(sent) < len(held)


async def test_nothing_goes_out_beyond_the_last_checkpoint(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        assert outbox.next_batch(log.path, 0) is None
        await log.append(coverage())
        assert outbox.next_batch(log.path, 0) is None
        await log.checkpoint()
        assert outbox.next_batch(log.path, 0) is not None
        assert outbox.next_batch(log.path, 1) is None


async def test_the_same_position_gives_the_same_bytes_for_ever(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await append_a_shift(log, 12)
        first = await batches(log.path)
        await append_a_shift(log, 12)
        await cosigned(log)
        assert (await batches(log.path))[: len(first)] == first
    with opened(tmp_path) as log:
        assert (await batches(log.path))[: len(first)] == first


async def test_a_receiver_that_fell_back_is_served_from_its_mark(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await append_a_shift(log, 22)
        epoch = log.head.epoch
        sizes = [batch.last for batch in await batches(log.path)]
        with database.reading(log.path) as connection:
            head = bytes(connection.execute("SELECT chain FROM log WHERE seq = ?", (sizes[0],)).get)
        assert outbox.position(log.path, outbox.Mark(epoch, sizes[0], head.hex())) == sizes[0]
        start = chain.chain_start(BOX, epoch).hex()
        assert outbox.position(log.path, outbox.Mark(epoch, 0, start)) == 0


async def test_a_receiver_with_another_history_is_a_fork(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await log.append(coverage())
        epoch, head = log.head.epoch, log.head.chain.hex()
        for mark in (
            outbox.Mark(epoch, 1, "00" * 32),
            outbox.Mark(epoch, 2, head),
            outbox.Mark(epoch, 0, head),
            outbox.Mark("other", 1, head),
        ):
            with pytest.raises(outbox.Forked, match="the receiver"):
                outbox.position(log.path, mark)


def test_a_log_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(outbox.OutboxUnreadable, match="audit verify"):
        outbox.next_batch(tmp_path / "box.db", 0)
    with pytest.raises(outbox.OutboxUnreadable):
        outbox.position(tmp_path / "box.db", outbox.Mark("epoch", 0, ""))
