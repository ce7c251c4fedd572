import asyncio
import math
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from sync import chain, database, intake, projections, record, wire
from sync.audit_log import AuditLog, LogClosed, LogInUse, LogUnwritable
from sync.verify import verify_log
from tests.support.box_log import (
    LOG_VERIFIER,
    alarm,
    append_a_shift,
    cosigned,
    coverage,
    inspection,
    lines,
    long_record,
    open_log,
    opened,
    pull_the_plug,
    rows,
)


def watch_commits(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of records in each commit from now on."""
    sizes: list[int] = []
    write = log._write

    def counted(group: list[intake.Append]) -> list[int]:
        seqs = write(group)
        sizes.append(len(seqs))
        return seqs

    monkeypatch.setattr(log, "_write", counted)
    return sizes


async def test_an_accepted_record_is_on_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "box") as log:
        seq = await log.append(record.LotStarted(lot="coil-1"))
        after_power_cut = pull_the_plug(log, tmp_path / "box")
    assert seq == 1
    (line,) = lines(after_power_cut)
    assert record.decode(line).body["lot"] == "coil-1"


async def test_seqs_are_contiguous_from_many_threads_and_times_follow_them(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        futures: list[Future[int]] = []

        def work() -> None:
            futures.extend(log.submit(coverage()) for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seqs = sorted(future.result(10) for future in futures)
        assert seqs == list(range(1, 401))
        times = [record.decode(line).mono_ns for line in lines(log.path)]
        assert times == sorted(times)


async def test_records_that_wait_together_are_committed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "GROUP_SECONDS", 3600.0)
    with opened(tmp_path) as log:
        sizes = watch_commits(log, monkeypatch)
        await asyncio.gather(*(log.append(coverage()) for _ in range(200)))
        assert sizes == [200]


async def test_a_record_of_a_group_waits_no_longer_than_the_group_time(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        async with asyncio.timeout(5):
            assert await log.append(coverage()) == 1


async def test_an_at_once_record_takes_along_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "GROUP_SECONDS", 3600.0)
    with opened(tmp_path) as log:
        sizes = watch_commits(log, monkeypatch)
        waiting = [log.submit(coverage()) for _ in range(3)]
        assert await log.append(record.LotStarted(lot="coil-1")) == 4
        assert [future.result(0) for future in waiting] == [1, 2, 3]
        assert sizes == [4]


async def test_a_record_that_is_too_long_fails_alone_and_leaves_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "GROUP_SECONDS", 3600.0)
    with opened(tmp_path) as log:
        before = log.submit(coverage())
        too_long = log.submit(long_record(record.MAX_LINE_BYTES))
        after = log.submit(coverage())
        last = log.submit(record.LotStarted(lot="coil-1"))
        with pytest.raises(record.RecordError, match="over the limit"):
            too_long.result(10)
        assert sorted([before.result(10), after.result(10), last.result(10)]) == [1, 2, 3]
    assert verify_log(log.path, LOG_VERIFIER).ok


async def test_a_disk_that_does_not_answer_is_told_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "GROUP_SECONDS", 3600.0)
    monkeypatch.setattr(intake, "MAX_WAITING", 3)
    with opened(tmp_path) as log:
        waiting = [log.submit(coverage()) for _ in range(3)]
        with pytest.raises(LogUnwritable, match="check the disk"):
            await log.append(coverage())
        log.close()
        assert [future.result(0) for future in waiting] == [1, 2, 3]


async def test_a_body_that_would_not_read_back_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        with pytest.raises(record.RecordError, match="inspection"):
            await log.append(inspection(1, confidence=math.nan))
        assert await log.append(inspection(1)) == 1


async def test_a_cancelled_append_is_still_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "GROUP_SECONDS", 3600.0)
    with opened(tmp_path) as log:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await log.append(coverage())
        await log.append(record.LotStarted(lot="coil-1"))
        assert len(lines(log.path)) == 2


async def test_no_stretch_between_checkpoints_is_too_long_for_a_batch(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        futures = [log.submit(coverage()) for _ in range(wire.MAX_RECORDS + 1)]
        futures += [log.submit(long_record(200_000)) for _ in range(25)]
        for future in futures:
            future.result(60)
        await log.checkpoint()
        sizes = [row[0] for row in rows(log.path, "SELECT size FROM checkpoints ORDER BY size")]
        assert wire.MAX_RECORDS in sizes
        assert len(sizes) == 3
    assert verify_log(log.path, LOG_VERIFIER).ok


async def test_a_checkpoint_signs_where_the_log_stands_and_only_once(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        assert await log.checkpoint() == 0
        await log.append(coverage())
        assert await log.checkpoint() == 1
        assert await log.checkpoint() == 1
        ((note,),) = rows(log.path, "SELECT note FROM checkpoints")
        origin = chain.checkpoint_origin("line-1", log.head.epoch)
        body = chain.open_note(str(note).encode(), chain.VerifierKey(origin, LOG_VERIFIER.public_key))
        assert chain.parse_checkpoint(body).head == log.head.chain


async def test_a_closed_log_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await append_a_shift(log, 3)
        head = log.head
    with opened(tmp_path) as log:
        assert (log.head.epoch, log.head.seq, log.head.chain) == (head.epoch, head.seq, head.chain)
        assert not log.after_unclean_stop
        assert log.previous is None
        assert log.last_at == record.decode(lines(log.path)[-1]).at
        assert await log.append(coverage()) == head.seq + 1


async def test_a_log_that_was_not_closed_says_so_and_has_everything(tmp_path: Path) -> None:
    with opened(tmp_path / "box") as log:
        await append_a_shift(log, 3)
        head = log.head
        after_power_cut = pull_the_plug(log, tmp_path / "box")
    with opened(after_power_cut.parent) as log:
        assert log.after_unclean_stop
        assert log.head == head
        assert log.set_aside is None
        await log.append(coverage())
    assert verify_log(after_power_cut, LOG_VERIFIER).ok


async def test_a_new_log_is_no_unclean_stop(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        assert not log.after_unclean_stop
        assert log.last_at is None


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(LogInUse, match="stop that appliance"):
        open_log(tmp_path)


async def test_a_closed_log_takes_nothing_more(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.close()
    log.close()
    with pytest.raises(LogClosed):
        await log.append(coverage())
    with pytest.raises(LogClosed):
        await log.checkpoint()
    with pytest.raises(LogClosed):
        await log.wait_beyond(0)


async def test_what_waits_when_the_log_is_closed_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "GROUP_SECONDS", 3600.0)
    log = open_log(tmp_path)
    waiting = [log.submit(coverage()) for _ in range(5)]
    log.close()
    assert [future.result(0) for future in waiting] == [1, 2, 3, 4, 5]


async def test_whoever_waits_for_records_is_woken_by_the_commit(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            woken = group.create_task(log.wait_beyond(1))
            await log.append(coverage())
            assert not woken.done()
            await log.append(coverage())
        assert woken.result() == 2
        assert await log.wait_beyond(0) == 2


async def test_whoever_waits_for_records_learns_that_the_log_was_closed(tmp_path: Path) -> None:
    log = open_log(tmp_path)

    async def waits() -> None:
        with pytest.raises(LogClosed):
            await log.wait_beyond(0)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(waits())
        await asyncio.sleep(0)
        log.close()


async def test_giving_up_waiting_leaves_nothing_behind(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await log.wait_beyond(0)
        await log.append(coverage())
        assert log._watchers == []


async def test_a_receipt_moves_the_cursor_for_good(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await log.append(coverage())
        assert log.receipted_through == 0
        assert await cosigned(log) == 1
    with opened(tmp_path) as log:
        assert log.receipted_through == 1


async def test_a_receipt_for_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await log.append(coverage())
        with pytest.raises(ValueError, match="no checkpoint at seq 7"):
            await log.accept_receipt(7, b"")
        assert log.receipted_through == 0


async def test_the_wal_does_not_grow_without_end(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        for _ in range(40):
            await asyncio.gather(*(log.append(long_record(20_000)) for _ in range(20)))
        assert log.path.with_name("box.db-wal").stat().st_size < 12 * 1024 * 1024
        assert log.path.stat().st_size > 8 * 1024 * 1024


async def test_the_alarms_that_stood_are_told_at_the_next_start(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        first, second, third = [await log.append(alarm(value)) for value in (81.5, True, "hot")]
        await log.append(record.AlarmAcknowledged(alarm="hot", raised_seq=first, by="Ana"))
        await log.append(record.AlarmAcknowledged(alarm="hot", raised_seq=second, by="Ana"))
        await log.append(record.AlarmCleared(alarm="hot", raised_seq=second))
        await log.append(record.AlarmCleared(alarm="hot", raised_seq=third))
    with database.reading(log.path) as connection:
        standing = projections.open_alarms(connection)
    told = [(found.raised_seq, found.value, found.acknowledged_by, found.active) for found in standing]
    assert told == [(first, 81.5, "Ana", True), (third, "hot", None, False)]
