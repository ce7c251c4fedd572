"""A batch's way in: read, place, verify, land, commit, receipt.

There is one high-water mark per (box, epoch). A batch moves it only in the transaction that also indexes the
landed file and keeps the receipt, so what has a receipt is held, and what is held twice is held once.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NoReturn

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloud_receiver.auth import BoxCaller, Freshness, touch
from cloud_receiver.database import as_text, batch_kinds, batches, boxes, marks, set_aside
from cloud_receiver.landing import batch_path
from cloud_receiver.problems import MarkView, Problem
from cloud_receiver.receiver import Receiver
from sync import chain, record, wire

MAX_PACKED_BYTES = wire.MAX_RAW_BYTES + 256 * 1024
"""Longest body of a batch: a full one of records that do not compress at all, and its frame."""

MAX_KIND_CHARACTERS = 200
"""A longer kind is indexed by its beginning; the record itself is kept whole."""

_EPOCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_HEX_HASH = re.compile(r"[0-9a-f]{64}")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receipt, and how many records became held by this request (none if they were before)."""

    receipt: bytes
    new_records: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far an epoch is held; `stored` is false before its first batch."""

    seq: int
    head: bytes
    frontier: chain.Frontier
    stored: bool


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch as it was sent, and by whom; `key` is the box's log key under this epoch's name."""

    caller: BoxCaller
    batch: wire.Batch
    packed: bytes
    digest: str
    key: chain.VerifierKey


class _LostRaceError(Exception):
    """Another request moved the mark meanwhile."""


def accept(receiver: Receiver, caller: BoxCaller, packed: bytes) -> Accepted:
    """Take a batch in, or say why not.

    Returns:
        The receipt; for a batch that is held already, the one given then, byte for byte.

    Raises:
        Problem: 400 malformed, 403 not-your-box, 409 gap, fork or overlap (with the mark), 422 unverified,
            401 in place of 400 and 422 for a token whose time cannot be told, 503 busy.
    """
    sent = _read(caller, packed)
    for _ in range(_TRIES):
        try:
            accepted = _place(receiver, sent)
        except _LostRaceError:
            continue
        if not accepted.new_records:
            touch(receiver.database, caller.box, receiver.now())
        return accepted
    raise Problem(503, "busy", "other requests keep moving this epoch's mark; send the batch again")


def _read(caller: BoxCaller, packed: bytes) -> _Sent:
    try:
        batch = wire.decode_batch(packed)
    except wire.BatchError as error:
        raise _refused(
            caller, 400, "malformed", f"not a batch: {error}; send it again as it was made"
        ) from error
    header = batch.header
    if header.box != caller.box:
        detail = f"the batch is of {header.box[:80]!r}, the token of {caller.box!r}; send each with its own"
        raise Problem(403, "not-your-box", detail)
    if not _EPOCH_NAME.fullmatch(header.epoch) or not _HEX_HASH.fullmatch(header.previous):
        detail = "its epoch is no name or its previous chain is not 64 hex digits; update the box's software"
        raise _refused(caller, 400, "malformed", detail)
    log_key = chain.VerifierKey.parse(caller.log_key)
    key = chain.VerifierKey(chain.checkpoint_origin(caller.box, header.epoch), log_key.public_key)
    return _Sent(caller, batch, packed, sha256(packed).hexdigest(), key)


def _place(receiver: Receiver, sent: _Sent) -> Accepted:
    header = sent.batch.header
    mark = _read_mark(receiver, sent)
    if header.first == mark.seq + 1 and header.previous == mark.head.hex():
        return _take(receiver, sent, mark)
    held = _held_receipt(receiver, sent)
    if held is not None:
        return Accepted(held, 0)
    _prove(sent)
    view = MarkView(epoch=header.epoch, seq=mark.seq, head=mark.head.hex())
    if header.first > mark.seq + 1:
        detail = f"records {mark.seq + 1} to {header.first - 1} are missing; send on from the mark"
        raise Problem(409, "gap", detail, view)
    if not mark.stored:
        detail = "its chain does not start at this box and epoch; start a new epoch"
        raise Problem(422, "unverified", detail)
    return _compare(receiver, sent, mark, view)


def _compare(receiver: Receiver, sent: _Sent, mark: _Mark, view: MarkView) -> Accepted:
    """A proven batch that reaches back into what is held: the same history, or another one.

    A chain head stands for all records before it, so one head tells: the last one that both know.
    """
    header = sent.batch.header
    both_know = min(header.last, mark.seq)
    if _head_at(sent.batch, both_know) != _held_head(receiver, sent, mark, both_know):
        _fork(receiver, sent, view)
    same_stretch = _held_receipt(receiver, sent, same_bytes=False)
    if same_stretch is not None:
        return Accepted(same_stretch, 0)
    detail = f"records up to {mark.seq} are held, in other batches than this; send on from the mark"
    raise Problem(409, "overlap", detail, view)


def _take(receiver: Receiver, sent: _Sent, mark: _Mark) -> Accepted:
    try:
        head, frontier = wire.verify_batch(sent.batch, sent.key, mark.frontier)
    except (wire.BatchError, chain.NoteError) as error:
        raise _unverified(sent, str(error)) from error
    now = receiver.now()
    path = batch_path(sent.batch.header, sent.digest, now.date().isoformat())
    receipt = chain.cosign(sent.batch.note, receiver.identity.receipt_key, int(now.timestamp()))
    receiver.landing.put(path, sent.packed)
    with receiver.database.write() as connection:
        _advance(connection, sent, mark, _Mark(sent.batch.header.last, head, frontier, stored=True), now)
        _index(connection, sent, path, receipt, now)
    return Accepted(receipt, len(sent.batch.lines))


def _advance(connection: Connection, sent: _Sent, old: _Mark, new: _Mark, now: datetime) -> None:
    box, epoch = sent.caller.box, sent.batch.header.epoch
    reached = {
        "seq": new.seq,
        "head": new.head,
        "frontier": new.frontier.to_bytes(),
        "advanced_at": as_text(now),
    }
    if old.stored:
        row = update(marks).where(marks.c.box == box, marks.c.epoch == epoch)
        unmoved = row.where(marks.c.seq == old.seq, marks.c.head == old.head)
        if connection.execute(unmoved.values(**reached)).rowcount != 1:
            raise _LostRaceError
    else:
        try:
            row_values = {"box": box, "epoch": epoch, "began_at": as_text(now), **reached}
            connection.execute(insert(marks).values(**row_values))
        except IntegrityError as error:
            raise _LostRaceError from error
    connection.execute(update(boxes).where(boxes.c.box == box).values(last_contact=as_text(now)))


def _index(connection: Connection, sent: _Sent, path: str, receipt: bytes, now: datetime) -> None:
    header = sent.batch.header
    key = connection.execute(
        insert(batches).values(
            box=header.box,
            epoch=header.epoch,
            first=header.first,
            last=header.last,
            sha256=sent.digest,
            path=path,
            packed_bytes=len(sent.packed),
            receipt=receipt,
            received_at=as_text(now),
            enrolment=sent.caller.enrolment,
        )
    ).inserted_primary_key
    if key is None:
        raise RuntimeError("the database gave the batch no id; check the database's version")
    kinds, aside = _sort_lines(sent.batch)
    if kinds:
        rows = [{"batch": key[0], "kind": kind, "records": count} for kind, count in kinds.items()]
        connection.execute(insert(batch_kinds), rows)
    if aside:
        bad = [{"batch": key[0], "box": header.box, "seq": seq, "reason": why} for seq, why in aside]
        connection.execute(insert(set_aside), bad)


def _sort_lines(batch: wire.Batch) -> tuple[Counter[str], list[tuple[int, str]]]:
    """How many records there are of each kind, and the lines that are no records, with the reason."""
    kinds: Counter[str] = Counter()
    aside = []
    for seq, line in enumerate(batch.lines, batch.header.first):
        try:
            read = read_line(line, seq)
        except record.RecordError as error:
            aside.append((seq, str(error)[:500]))
        else:
            kinds[read.kind[:MAX_KIND_CHARACTERS]] += 1
    return kinds, aside


def read_line(line: bytes, seq: int) -> record.Record:
    """The record at place `seq` of a log.

    Raises:
        RecordError: if the line is no record, or one that says it is at another place.
    """
    read = record.decode(line)
    if read.seq != seq:
        raise record.RecordError(f"it says seq {read.seq} and stands at {seq}")
    return read


def _read_mark(receiver: Receiver, sent: _Sent) -> _Mark:
    box, epoch = sent.caller.box, sent.batch.header.epoch
    with receiver.database.read() as connection:
        row = connection.execute(
            select(marks).where(marks.c.box == box, marks.c.epoch == epoch)
        ).one_or_none()
    if row is None:
        return _Mark(0, chain.chain_start(box, epoch), chain.Frontier(), stored=False)
    return _Mark(row.seq, row.head, chain.Frontier.from_bytes(row.frontier), stored=True)


def _held_receipt(receiver: Receiver, sent: _Sent, *, same_bytes: bool = True) -> bytes | None:
    header, row = sent.batch.header, batches.c
    query = select(row.receipt).where(
        row.box == header.box, row.epoch == header.epoch, row.first == header.first, row.last == header.last
    )
    if same_bytes:
        query = query.where(row.sha256 == sent.digest)
    with receiver.database.read() as connection:
        receipt = connection.execute(query).scalar()
    return None if receipt is None else bytes(receipt)


def _held_head(receiver: Receiver, sent: _Sent, mark: _Mark, seq: int) -> bytes:
    if seq == mark.seq:
        return mark.head
    header, row = sent.batch.header, batches.c
    query = select(row.path, row.sha256).where(
        row.box == header.box, row.epoch == header.epoch, row.first <= seq, row.last >= seq
    )
    with receiver.database.read() as connection:
        held = connection.execute(query).one()
    return _head_at(wire.decode_batch(receiver.landing.get(held.path, held.sha256)), seq)


def _head_at(batch: wire.Batch, seq: int) -> bytes:
    head = bytes.fromhex(batch.header.previous)
    for line in batch.lines[: seq - batch.header.first + 1]:
        head = chain.chain_step(head, chain.leaf_hash(line))
    return head


def _prove(sent: _Sent) -> None:
    """Check that the box signed this stretch: its note holds and its lines lead to the head that it signs.

    The tree's root is left out, because it takes the records before; the head stands for the same ones.
    """
    header = sent.batch.header
    try:
        checkpoint = chain.parse_checkpoint(chain.open_note(sent.batch.note, sent.key))
    except chain.NoteError as error:
        raise _unverified(sent, str(error)) from error
    signed = (checkpoint.origin, checkpoint.size, checkpoint.head)
    if signed != (sent.key.name, header.last, _head_at(sent.batch, header.last)):
        raise _unverified(sent, "its records do not lead to the chain head that its checkpoint signs")


def _fork(receiver: Receiver, sent: _Sent, view: MarkView) -> NoReturn:
    path = batch_path(sent.batch.header, sent.digest, receiver.now().date().isoformat())
    receiver.quarantine.put(path, sent.packed)
    both_know = min(sent.batch.header.last, view.seq)
    detail = (
        f"the box signed two histories that differ at or before record {both_know}; the second is kept as "
        f"quarantine/{path}. A restored or cloned disk does this: start a new epoch on it"
    )
    raise Problem(409, "fork", detail, view)


def _unverified(sent: _Sent, reason: str) -> Problem:
    return _refused(sent.caller, 422, "unverified", f"{reason}; run `alumiguard audit verify` on the box")


def _refused(caller: BoxCaller, status: int, code: str, detail: str) -> Problem:
    if caller.freshness is Freshness.UNKNOWN:
        detail = f"the token is not of now, and the batch does not prove itself: {detail}"
        return Problem(401, "unauthenticated", detail)
    return Problem(status, code, detail)
