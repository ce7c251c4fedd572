import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync import chain, database, epoch, record, schema
from sync.epoch import Head, WrongBox
from sync.verify import verify_log
from tests.support.box_log import (
    LOG_VERIFIER,
    append_a_shift,
    coverage,
    lines,
    open_log,
    opened,
    pull_the_plug,
    rows,
)


@pytest.fixture
async def stopped(tmp_path: Path) -> tuple[Path, Head]:
    """The folder of a box whose power was cut, its database in one file, and where its log stood."""
    with opened(tmp_path / "box") as log:
        await append_a_shift(log, 12)
        head = log.head
        path = pull_the_plug(log, tmp_path / "box")
    connection = database.open_writer(path)
    connection.wal_checkpoint()
    connection.close()
    return path.parent, head


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def last_line_at(path: Path) -> int:
    return path.read_bytes().index(lines(path)[-1])


async def test_a_record_damaged_after_the_last_checkpoint_sets_the_file_aside(
    stopped: tuple[Path, Head],
) -> None:
    folder, head = stopped
    flip(folder / "box.db", last_line_at(folder / "box.db") + 30)
    with opened(folder) as log:
        assert log.break_reason == f"seq {head.seq}: the record does not fit the chain"
        assert log.set_aside == folder / f"box.{head.epoch}.damaged.db"
        assert log.after_unclean_stop
        assert log.head.seq == 0
        assert log.head.epoch != head.epoch
        previous = log.previous
        assert previous is not None
        assert (previous.epoch, previous.seq) == (head.epoch, head.seq - 1)
        chains = rows(log.set_aside, f"SELECT hex(chain) FROM log WHERE seq = {head.seq - 1}")  # noqa: S608
        assert chains == [(previous.chain.upper(),)]
        started = record.BoxStarted(
            software="t", config_sha256="", after_unclean_stop=True, previous=previous
        )
        assert await log.append(started) == 1
        assert log.set_aside.exists()
        assert verify_log(log.set_aside, LOG_VERIFIER).first_bad_seq == head.seq
    assert verify_log(folder / "box.db", LOG_VERIFIER).problems == []


async def test_a_new_epoch_still_tells_the_one_before_until_its_first_record(
    stopped: tuple[Path, Head],
) -> None:
    folder, head = stopped
    flip(folder / "box.db", last_line_at(folder / "box.db") + 30)
    open_log(folder).close()
    with opened(folder) as log:
        assert log.after_unclean_stop
        assert log.previous is not None
        assert log.previous.epoch == head.epoch
        await log.append(coverage())
    with opened(folder) as log:
        assert log.previous is None


def test_a_file_that_is_no_database_is_set_aside_and_the_box_goes_on(tmp_path: Path) -> None:
    (tmp_path / "box.db").write_bytes(b"not a database " * 1000)
    with opened(tmp_path) as log:
        assert log.previous is None
        assert log.set_aside == tmp_path / "box.unknown.damaged.db"
        assert "not a database" in log.break_reason
    (tmp_path / "box.db").write_bytes(b"not a database " * 1000)
    with opened(tmp_path) as log:
        assert log.set_aside == tmp_path / "box.unknown.damaged-1.db"


def test_a_file_cut_off_in_the_middle_is_set_aside(stopped: tuple[Path, Head]) -> None:
    folder, head = stopped
    content = (folder / "box.db").read_bytes()
    (folder / "box.db").write_bytes(content[: len(content) // 2 // 4096 * 4096])
    with opened(folder) as log:
        assert log.set_aside is not None
        assert log.head.seq == 0
        assert log.head.epoch != head.epoch


def test_every_flip_leads_to_the_whole_log_or_to_a_new_epoch_that_names_it(
    stopped: tuple[Path, Head],
) -> None:
    """Whatever is damaged, the box starts and can append; nothing of what was there is thrown away."""
    folder, head = stopped
    original = (folder / "box.db").read_bytes()
    for at in range(11, len(original), len(original) // 60):
        copy = folder.with_name("flipped")
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        (copy / "box.db").write_bytes(original)
        flip(copy / "box.db", at)
        damaged = (copy / "box.db").read_bytes()
        with opened(copy) as log:
            if log.set_aside is None:
                assert (log.head.epoch, log.head.seq) == (head.epoch, head.seq)
            else:
                assert log.set_aside.read_bytes() == damaged
                assert log.previous is None or log.previous.epoch == head.epoch
            log.submit(coverage()).result(10)


async def test_a_wal_with_commits_behind_its_damage_is_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path / "box") as log:
        await append_a_shift(log, 3)
        head = log.head
        path = pull_the_plug(log, tmp_path / "box")
    side = path.with_name("box.db-wal")
    damaged = bytearray(side.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    side.write_bytes(damaged)
    with opened(path.parent) as log:
        assert "commits lie behind it" in log.break_reason
        assert log.previous is not None
        assert log.previous.epoch == head.epoch
        assert 0 < log.previous.seq < head.seq
        aside = path.with_name(f"box.{head.epoch}.damaged.db-wal")
        assert aside.read_bytes() == damaged


async def test_a_replaced_log_key_begins_a_new_epoch(stopped: tuple[Path, Head]) -> None:
    folder, head = stopped
    log = open_log(folder, key=Ed25519PrivateKey.generate())
    assert "does not hold" in log.break_reason
    assert log.previous is not None
    assert log.previous.epoch == head.epoch
    log.close()


async def test_another_boxes_log_is_refused_and_left_alone(stopped: tuple[Path, Head]) -> None:
    folder, head = stopped
    with pytest.raises(WrongBox, match="name the box 'line-1'"):
        open_log(folder, box="line-2")
    with opened(folder) as log:
        assert log.head.seq == head.seq


async def test_a_log_of_a_newer_version_is_refused_and_left_alone(stopped: tuple[Path, Head]) -> None:
    folder, _ = stopped
    connection = database.open_writer(folder / "box.db")
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(schema.SchemaTooNew, match="install the version that wrote it"):
        open_log(folder)
    assert not list(folder.glob("*damaged*"))
    assert rows(folder / "box.db", "PRAGMA user_version") == [(99,)]


async def test_a_power_cut_before_the_old_file_was_moved_is_looked_at_again(
    stopped: tuple[Path, Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, head = stopped
    flip(folder / "box.db", last_line_at(folder / "box.db") + 30)
    monkeypatch.setattr(epoch, "_set_aside", power_cut)
    with pytest.raises(PowerCutError):
        open_log(folder)
    monkeypatch.undo()
    assert (folder / "box.db.next").exists()
    with opened(folder) as log:
        assert log.previous is not None
        assert log.previous.epoch == head.epoch
        assert log.set_aside == folder / f"box.{head.epoch}.damaged.db"


async def test_a_power_cut_after_the_old_file_was_moved_goes_on_with_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "box") as log:
        await append_a_shift(log, 12)
        head = log.head
        folder = pull_the_plug(log, tmp_path / "box").parent
    monkeypatch.setattr(epoch, "_move_sides", power_cut)
    with pytest.raises(PowerCutError):
        open_log(folder, key=Ed25519PrivateKey.generate())
    monkeypatch.undo()
    assert (folder / "box.db-wal").exists()
    assert not (folder / "box.db").exists()
    with opened(folder) as log:
        assert log.head.seq == 0
        assert log.head.epoch != head.epoch
        await log.append(coverage())
    aside = next(folder.glob("box.*.damaged.db"))
    assert aside.with_name(aside.name + "-wal").exists()
    assert verify_log(folder / "box.db", LOG_VERIFIER).records == 1


async def test_an_epoch_half_made_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "box.db.making").write_bytes(b"half")
    with opened(tmp_path) as log:
        await log.append(coverage())
    assert not (tmp_path / "box.db.making").exists()


async def test_two_epochs_never_share_a_chain(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
        assert one.head.chain != two.head.chain
        assert one.head.chain == chain.chain_start("line-1", one.head.epoch)


class PowerCutError(Exception):
    """The power goes."""


def power_cut(*_arguments: object) -> None:
    raise PowerCutError
