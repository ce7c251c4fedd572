import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sync import chain, database, projections, record, wal
from sync.verify import verify_log
from tests.support.box_log import (
    BOX,
    LOG_VERIFIER,
    RECEIPT_KEY,
    append_a_shift,
    coverage,
    opened,
    pull_the_plug,
    rows,
)

TABLES = ("epochs", "log", "checkpoints", "clean_stop", *projections.TABLES)
FLIPS = 500


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box that was closed in good order: its database in one file."""

    async def build(folder: Path) -> Path:
        with opened(folder) as log:
            await append_a_shift(log)
        return log.path

    return asyncio.run(build(tmp_path_factory.mktemp("box")))


@pytest.fixture
def whole(built: Path, tmp_path: Path) -> Path:
    """A copy of it to be damaged."""
    (tmp_path / "box").mkdir()
    return Path(shutil.copy(built, tmp_path / "box" / "box.db"))


def content(path: Path) -> list[list[tuple[object, ...]]]:
    return [rows(path, f"SELECT rowid, * FROM {table} ORDER BY rowid") for table in TABLES]  # noqa: S608 - ours


def put(folder: Path, damaged: bytes) -> Path:
    """The damaged file, in a folder where nothing else is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "box.db").write_bytes(damaged)
    return folder / "box.db"


def change(path: Path, statement: str, *values: object) -> None:
    """What somebody with the right to write the file would do."""
    connection = database.open_writer(path)
    connection.execute(statement, values)
    connection.close()


def test_a_whole_log_has_no_problems(whole: Path) -> None:
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert report.ok
    assert report.remarks == []
    assert report.box == BOX
    assert report.records == len(rows(whole, "SELECT seq FROM log"))
    assert report.receipts == 3
    assert report.checkpoints == 4
    assert report.head == rows(whole, "SELECT hex(chain) FROM log ORDER BY seq DESC LIMIT 1")[0][0].lower()  # type: ignore[attr-defined]  # text


async def test_a_log_is_verified_while_it_is_written(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        await append_a_shift(log, 5)
        waiting = [log.submit(coverage()) for _ in range(500)]
        assert verify_log(log.path, LOG_VERIFIER).ok
        for future in waiting:
            future.result(10)
        assert verify_log(log.path, LOG_VERIFIER).records == log.head.seq


def test_without_keys_the_report_says_what_was_not_checked(whole: Path) -> None:
    report = verify_log(whole, None)
    assert report.ok
    assert len(report.remarks) == 2


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"name the box\.db"):
        verify_log(tmp_path / "box.db", None)


async def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "box.db").write_bytes(b"no database at all" * 500)
    report = verify_log(tmp_path / "box.db", LOG_VERIFIER)
    assert not report.ok


def test_a_changed_line_is_located(whole: Path) -> None:
    change(whole, "UPDATE log SET line = replace(line, 'Open the damper', 'Shut the damper') WHERE seq = 42")
    changed = "SELECT seq FROM log WHERE line LIKE '%Shut%'"
    seq = next((row[0] for row in rows(whole, changed)), None)
    if seq is None:
        change(whole, "UPDATE log SET line = line || ' ' WHERE seq = 42")
        seq = 42
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert report.first_bad_seq == seq
    assert str(report.problems[0]).startswith(f"seq {seq}: the record does not fit the chain")


def test_a_changed_chain_value_is_located_and_is_the_only_problem(whole: Path) -> None:
    change(whole, "UPDATE log SET chain = zeroblob(32) WHERE seq = 43")
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert [problem.seq for problem in report.problems] == [43]


def test_two_changes_are_both_located(whole: Path) -> None:
    change(whole, "UPDATE log SET line = line || ' ' WHERE seq IN (20, 70)")
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert [problem.seq for problem in report.problems] == [20, 70]


def test_a_missing_record_is_located(whole: Path) -> None:
    change(whole, "DELETE FROM log WHERE seq IN (50, 51)")
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert report.first_bad_seq == 50
    assert any("records 50 to 51 are missing" in str(problem) for problem in report.problems)


def test_a_cut_off_end_is_noticed(whole: Path) -> None:
    change(whole, "DELETE FROM log WHERE seq > 60")
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert report.first_bad_seq == 61


def test_a_history_rewritten_with_its_whole_chain_is_caught_by_the_signature(whole: Path) -> None:
    connection = database.open_writer(whole)
    ((box, epoch),) = connection.execute("SELECT box, epoch FROM epochs").fetchall()
    connection.execute('UPDATE log SET line = replace(line, \'"by":"Ana"\', \'"by":"Bob"\')')
    head = chain.chain_start(str(box), str(epoch))
    for seq, line in connection.execute("SELECT seq, CAST(line AS BLOB) FROM log ORDER BY seq").fetchall():
        head = chain.chain_step(head, chain.leaf_hash(line))  # type: ignore[arg-type]  # a BLOB
        connection.execute("UPDATE log SET chain = ? WHERE seq = ?", (head, seq))
    projections.rebuild(connection)
    connection.close()
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    first = min(int(str(row[0])) for row in rows(whole, "SELECT size FROM checkpoints"))
    assert report.problems[0].seq == first
    assert "signs another chain" in report.problems[0].text


def test_a_checkpoint_by_another_key_is_refused(whole: Path) -> None:
    other = chain.VerifierKey(LOG_VERIFIER.name, RECEIPT_KEY.public_key)
    report = verify_log(whole, other)
    assert len(report.problems) == 4
    assert all("no signature" in problem.text for problem in report.problems)


def test_a_receipt_by_another_key_is_refused(whole: Path) -> None:
    other = chain.VerifierKey(RECEIPT_KEY.name, LOG_VERIFIER.public_key, chain.ALG_COSIGNATURE)
    assert len(verify_log(whole, LOG_VERIFIER, other).problems) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inspections SET judgement = 'false' WHERE judgement = 'real'",
        "DELETE FROM inspections WHERE seq = (SELECT max(seq) FROM inspections)",
        "INSERT INTO lots VALUES (9999, 'ghost', 'now', NULL)",
        "UPDATE detections SET confidence = 0.1 WHERE rowid = 1",
        "UPDATE alarms SET acknowledged_by = 'Bob' WHERE acknowledged_by = 'Ana'",
    ],
)
def test_a_lookup_table_that_differs_from_the_log_is_named(whole: Path, statement: str) -> None:
    change(whole, statement)
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert len(report.problems) == 1
    assert statement.split()[1].lower() in str(report.problems) or "differs from the log" in str(
        report.problems
    )


def test_a_flipped_byte_anywhere_in_the_file_is_found_or_changes_nothing(whole: Path) -> None:
    """A flip that is not found has to leave every row of every table as it was."""
    original, before = whole.read_bytes(), content(whole)
    chance = random.Random(2026)
    verdicts: Counter[str] = Counter()
    for _ in range(FLIPS):
        flipped = bytearray(original)
        at = chance.randrange(len(flipped))
        flipped[at] ^= 1 << chance.randrange(8)
        flipped_path = put(whole.parent / "flipped", bytes(flipped))
        report = verify_log(flipped_path, LOG_VERIFIER, RECEIPT_KEY)
        if report.ok:
            assert content(flipped_path) == before, f"byte {at} was changed and not found"
        verdicts["found" if not report.ok else "carries nothing"] += 1
    assert verdicts["found"] > FLIPS * 0.6, verdicts


def test_a_flipped_byte_in_a_record_is_located_at_that_record(whole: Path) -> None:
    original = whole.read_bytes()
    chance = random.Random(11)
    lines = rows(whole, "SELECT seq, CAST(line AS BLOB) FROM log")
    for seq, line in chance.sample(lines, 60):
        if not isinstance(line, bytes) or original.count(line) != 1:
            continue  # a line in an overflow chain, or with a stale copy on a freed page
        flipped = bytearray(original)
        flipped[original.index(line) + chance.randrange(len(line))] ^= 1 << chance.randrange(8)
        flipped_path = put(whole.parent / "flipped", bytes(flipped))
        assert verify_log(flipped_path, LOG_VERIFIER, RECEIPT_KEY).first_bad_seq == seq


def test_a_zeroed_page_is_reported_without_a_crash(whole: Path) -> None:
    original = whole.read_bytes()
    for page in range(len(original) // 4096):
        damaged = bytearray(original)
        damaged[page * 4096 : (page + 1) * 4096] = bytes(4096)
        flipped_path = put(whole.parent / "flipped", bytes(damaged))
        assert not verify_log(flipped_path, LOG_VERIFIER, RECEIPT_KEY).ok


@pytest.fixture
async def unclean(tmp_path: Path) -> Path:
    """A database whose records are partly in the WAL."""
    with opened(tmp_path / "box") as log:
        await append_a_shift(log, 5)
        return pull_the_plug(log, tmp_path / "box")


def damage_wal(path: Path, edit: Callable[[bytearray], None]) -> Path:
    side = path.with_name("box.db-wal")
    content = bytearray(side.read_bytes())
    edit(content)
    side.write_bytes(content)
    return side


async def test_a_flipped_byte_in_the_wal_with_commits_behind_it_is_found(unclean: Path) -> None:
    chance = random.Random(5)
    side = unclean.with_name("box.db-wal")
    original = side.read_bytes()
    for _ in range(25):
        at = chance.randrange(len(original) // 2)
        side.write_bytes(original[:at] + bytes([original[at] ^ 0x10]) + original[at + 1 :])
        assert wal.check(side).damage, at


async def test_a_wal_that_is_whole_has_no_finding(unclean: Path) -> None:
    assert wal.check(unclean.with_name("box.db-wal")) == wal.WalFinding()
    assert wal.check(unclean.with_name("no-wal")) == wal.WalFinding()
    report = verify_log(unclean, LOG_VERIFIER)
    assert report.ok


async def test_an_unfinished_write_at_the_end_of_the_wal_is_only_a_remark(unclean: Path) -> None:
    side = damage_wal(unclean, lambda content: content.__setitem__(-100, content[-100] ^ 1))
    finding = wal.check(side)
    assert finding.damage == ""
    assert "unfinished" in finding.remark
    report = verify_log(unclean, LOG_VERIFIER)
    assert finding.remark in report.remarks


def test_the_first_record_has_to_name_the_epoch_before(whole: Path) -> None:
    change(whole, "UPDATE epochs SET previous_epoch = 'other', previous_seq = 1, previous_chain = ''")
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert [str(problem) for problem in report.problems] == [
        "seq 1: the first record does not name the epoch before as the file does"
    ]


def test_a_record_written_in_the_wrong_place_is_located(whole: Path) -> None:
    connection = database.open_writer(whole)
    head, seq = connection.execute("SELECT chain, seq FROM log ORDER BY seq DESC LIMIT 1").get
    line = record.encode(7, "", "", 0, record.ClockQuality.NTP, coverage())
    step = chain.chain_step(bytes(head), chain.leaf_hash(line))
    connection.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (int(seq) + 1, "tags", line.decode(), step))
    connection.close()
    report = verify_log(whole, LOG_VERIFIER, RECEIPT_KEY)
    assert [problem.seq for problem in report.problems] == [int(seq) + 1] * 2


def test_an_old_sqlite_is_refused() -> None:
    with pytest.raises(database.SqliteTooOld, match="install apsw"):
        database.refuse_old_sqlite("3.51.2")
    database.refuse_old_sqlite(apsw.sqlite_lib_version())
