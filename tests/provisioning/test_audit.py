"""`alumiguard audit verify` says 0 only of a log that verifies, and names the first record that does not."""

import asyncio
from pathlib import Path

import pytest

from sync import identity, record
from sync.audit_log import AuditLog
from tests.support.box_log import LOG_VERIFIER, TickingClock, opened
from tests.support.command import alumiguard


def write(log: AuditLog, count: int) -> None:
    """Some records and a checkpoint."""

    async def fill() -> None:
        for number in range(count):
            await log.append(record.LotStarted(lot=f"C-{number:04}"))
        await log.checkpoint()

    asyncio.run(fill())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A closed log of 20 records and what its opening added."""
    folder = tmp_path / "log"
    with opened(folder) as log:
        write(log, 20)
    return folder / "box.db"


def flip(path: Path, text: bytes) -> None:
    """Change its last letter wherever this stands: in the log, and in free space that once held it."""
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text[:-1] + bytes([text[-1] ^ 0x01])))


def test_an_untouched_log_verifies(database: Path) -> None:
    ended = alumiguard("audit", "verify", "--database", database, "--key", LOG_VERIFIER, "--json")
    assert (ended.status, ended.err) == (0, "")
    assert ended.answer["verifies"] is True
    assert ended.answer["records"] >= 20
    assert ended.answer["problems"] == []


def test_a_flipped_byte_is_located(database: Path) -> None:
    flip(database, b'"lot":"C-0007')
    ended = alumiguard("audit", "verify", "--database", database, "--key", LOG_VERIFIER, "--json")
    assert ended.status == 1
    bad = ended.answer["first_bad_seq"]
    assert ended.answer["problems"][0]["where"] == f"seq {bad}"
    assert f"error: seq {bad}: " in ended.err
    said = alumiguard("audit", "verify", "--database", database, "--key", LOG_VERIFIER)
    assert (said.status, said.out) == (1, "")


def test_another_boxs_key_does_not_verify(database: Path, tmp_path: Path) -> None:
    other = identity.load_or_create(tmp_path / "other", "line-1").log_verifier
    ended = alumiguard("audit", "verify", "--database", database, "--key", other)
    assert ended.status == 1


def test_a_key_may_be_in_a_file(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "log.vkey"
    file.write_text(f"{LOG_VERIFIER}\n")
    assert alumiguard("audit", "verify", "--database", database, "--key", file).status == 0


def test_without_a_key_it_is_said_that_no_signature_was_checked(database: Path) -> None:
    ended = alumiguard("audit", "verify", "--database", database)
    assert ended.status == 0
    assert "no log key was given" in ended.out


def test_on_the_box_the_keys_are_found(box_toml: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    keys = identity.load_or_create(storage / "identity", "line-1")
    log = AuditLog.open(storage, "line-1", keys.log_key, TickingClock())
    write(log, 3)
    log.close()
    ended = alumiguard("audit", "verify", "--config", box_toml, "--json")
    assert ended.status == 0
    assert ended.answer["remarks"] == []


@pytest.mark.parametrize("key", ["nonsense", "a+b+c", ""])
def test_what_is_no_key_could_not_be_checked(database: Path, key: str) -> None:
    ended = alumiguard("audit", "verify", "--database", database, "--key", key, "--json")
    assert ended.status == 2
    assert ended.answer["problems"][0]["where"] == "--key"


def test_a_log_that_is_not_there_could_not_be_checked(tmp_path: Path) -> None:
    ended = alumiguard("audit", "verify", "--database", tmp_path / "box.db", "--json")
    assert ended.status == 2
    assert ended.answer["problems"][0]["what"] == "it is not there"
    assert ended.err.count("box.db: ") == 1


def test_a_file_that_is_no_database_does_not_verify(tmp_path: Path) -> None:
    (tmp_path / "box.db").write_bytes(b"not a database, whatever its name says" * 100)
    ended = alumiguard("audit", "verify", "--database", tmp_path / "box.db", "--json")
    assert ended.status == 1
    (problem,) = ended.answer["problems"]
    assert "not a database" in problem["what"]


def test_damaged_logs_that_were_set_aside_are_named_and_do_not_fail(database: Path) -> None:
    aside = database.with_name("box.20260102T030405Z-1.damaged.db")
    aside.write_bytes(b"damaged")
    ended = alumiguard("audit", "verify", "--database", database, "--key", LOG_VERIFIER)
    assert (ended.status, ended.err) == (0, "")
    assert f"set aside as {aside.name}" in ended.out
    assert f"--database {aside}" in ended.out
