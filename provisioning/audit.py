"""`alumiguard audit`: prove that the log is whole and says what it said when it was written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioning.answers import (
    DEFAULT_CONFIG,
    ConfigPath,
    Failure,
    Json,
    Problem,
    fail,
    print_json,
    shown,
    verb,
)
from provisioning.configuration import read

if TYPE_CHECKING:
    from sync.chain import VerifierKey
    from sync.verify import Report

CANNOT_CHECK_STATUS = 2
SQLITE_HEADER = b"SQLite format 3\0"
NAME_IT = "name the box.db in the box's storage folder, as a user who may read it"
KEEP_IT = "keep this file as it is, compare it with what the receiver holds, and tell who answers for the log"

Key = Annotated[
    str | None, typer.Option(metavar="VKEY", help="The log's public key, or a file that holds it.")
]


@verb
def verify(
    config: ConfigPath = DEFAULT_CONFIG,
    database: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A box.db, where there is no configuration at hand.")
    ] = None,
    key: Key = None,
    receipt_key: Annotated[
        str | None, typer.Option(metavar="VKEY", help="The receiver's receipt key, or a file that holds it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the log: every record, its chain, the signed checkpoints and the receipts.

    Reads only, also while the box runs. On the box itself the keys are found in its storage folder; elsewhere
    name them, for without a key a log that was made anew as a whole would pass.

    Exit status: 0 the log verifies; 1 it does not; 2 it could not be checked.
    """
    path, log_key, receiver_key = what_to_verify(config, database, key, receipt_key)
    from sync.verify import verify_log

    refuse_what_is_no_database(path)
    try:
        report = verify_log(path, log_key, receiver_key)
    except OSError as error:
        raise fail(path, error.strerror or error, NAME_IT, CANNOT_CHECK_STATUS) from None
    report.remarks += set_aside_beside(path)
    if not report.ok:
        raise Failure(map(problem_of, report.problems), also=summary(path, report))
    if as_json:
        print_json({"problems": [], **summary(path, report)})
        return
    print(f"{shown(path)}: {report.records} records verify (box {report.box}, epoch {report.epoch})")
    print(f"checkpoints {report.checkpoints}, receipts {report.receipts}, head {report.head or 'none'}")
    for remark in report.remarks:
        print(f"note: {shown(remark)}")


def refuse_what_is_no_database(path: Path) -> None:
    """Say once, not once a table, that a file is none.

    Raises:
        Failure: if it is not there or cannot be read (not checked), or does not begin as a database does.
    """
    if not path.is_file():
        what = "it is not a file" if path.exists() else "it is not there"
        raise fail(path, what, NAME_IT, CANNOT_CHECK_STATUS)
    try:
        with path.open("rb") as file:
            begins = file.read(len(SQLITE_HEADER))
    except OSError as error:
        raise fail(path, f"it cannot be read ({error.strerror})", NAME_IT, CANNOT_CHECK_STATUS) from None
    if begins != SQLITE_HEADER:
        what = "it is empty" if not begins else "it is not a database, or its beginning was overwritten"
        raise fail(path, what, f"{NAME_IT}; if this is it, {KEEP_IT}")


def set_aside_beside(path: Path) -> list[str]:
    """A remark for every damaged log that a start of the box has set aside in this folder."""
    remarks = []
    for aside in sorted(path.parent.glob("box.*.damaged*.db")):
        if aside != path:
            how = f"look into it with `alumiguard audit verify --database {shown(aside)}`, and keep it"
            remarks.append(f"an earlier log was found damaged and set aside as {shown(aside.name)}: {how}")
    return remarks


def what_to_verify(
    config: Path, database: Path | None, key: str | None, receipt_key: str | None
) -> "tuple[Path, VerifierKey | None, VerifierKey | None]":
    """The database and the keys: as named, else those of the configured box."""
    log_key, receiver_key = parse_key(key), parse_key(receipt_key)
    if database is not None:
        return database, log_key, receiver_key
    storage = read(config).storage
    if log_key is None and (storage.identity / "log.key").exists():
        from sync import identity

        try:
            own = identity.load_or_create(storage.identity, read(config).box.id)
        except (identity.IdentityError, OSError) as error:
            next_step = "call it as the box's user, or name the public keys with --key and --receipt-key"
            raise fail(storage.identity, error, next_step, CANNOT_CHECK_STATUS) from None
        log_key = own.log_verifier
        receiver_key = receiver_key or (own.receiver.receipt_key if own.receiver is not None else None)
    return storage.database, log_key, receiver_key


def parse_key(text: str | None) -> "VerifierKey | None":
    """A public key as its text, or as a file that holds it.

    Raises:
        Failure: if it is neither.
    """
    from sync.chain import NoteError, VerifierKey

    if text is None:
        return None
    try:
        return VerifierKey.parse(Path(text).read_text(encoding="utf-8") if Path(text).is_file() else text)
    except (NoteError, OSError, UnicodeDecodeError) as error:
        next_step = "give the key as `alumiguard enrol` printed it: name+id+base64"
        raise fail("--key", error, next_step, CANNOT_CHECK_STATUS) from None


def problem_of(problem: Any) -> Problem:
    """One finding, with what to do: the log is evidence now, and must not be touched."""
    where = "the file" if problem.seq is None else f"seq {problem.seq}"
    return Problem.of(where, problem.text, KEEP_IT)


def summary(path: Path, report: "Report") -> dict[str, Any]:
    """What was checked, for `--json`."""
    return {
        "database": shown(path),
        "verifies": report.ok,
        "first_bad_seq": report.first_bad_seq,
        "box": report.box,
        "epoch": report.epoch,
        "records": report.records,
        "checkpoints": report.checkpoints,
        "receipts": report.receipts,
        "head": report.head,
        "remarks": list(report.remarks),
    }
