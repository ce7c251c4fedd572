"""Boxes from token to revocation, and what is held of each."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, func, insert, select, update

from cloud_receiver.answers import BoxView, Enrolled, EnrolRequest, EpochView
from cloud_receiver.auth import TOKEN_PREFIX, digest_of, new_secret
from cloud_receiver.ca import BOX_NAME, CsrError, is_site_name, read_csr, sign_box
from cloud_receiver.database import as_text, boxes, enrolments, marks, set_aside, tokens
from cloud_receiver.problems import Problem
from cloud_receiver.receiver import Receiver
from cloud_receiver.security_events import note_event
from sync import chain


class BoxError(ValueError):
    """An order about a box or a token that cannot be carried out. The message says what to do instead."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """An enrolment token, to be shown once."""

    token: str
    site: str
    box: str | None
    expires_at: str


@dataclass(frozen=True, slots=True)
class _Introduction:
    """An enrolment request whose parts were read and fit together."""

    box: str
    site: str
    public_key: Ed25519PublicKey
    log_key: str


def create_token(receiver: Receiver, site: str, box: str | None, lifetime: timedelta) -> NewToken:
    """Make a token that enrols one box at `site`, once. Only its hash is kept.

    A token that names its box may also replace that box's keys, or take a revoked box back.

    Raises:
        BoxError: if a name is not a DNS label, or the lifetime is not between a minute and 30 days.
    """
    if not is_site_name(site):
        raise BoxError(
            f"{site!r} is no site; use 1 to 64 printable characters, as the box's configuration has it"
        )
    if box is not None and not BOX_NAME.fullmatch(box):
        raise BoxError(f"{box!r} is no box; use 1 to 63 of a-z, 0-9 and -, such as line-7")
    if not timedelta(minutes=1) <= lifetime <= timedelta(days=30):
        raise BoxError("a token lasts from 1 minute to 30 days (43200 minutes); choose --expires within that")
    now, secret = receiver.now(), new_secret(TOKEN_PREFIX)
    made = NewToken(secret, site, box, as_text(now + lifetime))
    row = {"site": site, "box": box, "created_at": as_text(now), "expires_at": made.expires_at}
    with receiver.database.write() as connection:
        connection.execute(insert(tokens).values(secret_sha256=digest_of(secret), **row))
        note_event(connection, now, "token-created", "cli", f"for site {site}, box {box or 'any'}")
    return made


def enrol(receiver: Receiver, bearer: str, request: EnrolRequest) -> Enrolled:
    """Take a box in: check its request and the token, sign its certificate, use the token up.

    The same request with the same token again gets the same answer, for a box that lost it on the way.

    Raises:
        Problem: 400 malformed, 401 unauthenticated, 403 not-your-site or not-your-box, 409 exists.
    """
    introduction = _read_introduction(request)
    now = receiver.now()
    with receiver.database.write() as connection:
        token = connection.execute(
            select(tokens).where(
                tokens.c.secret_sha256 == digest_of(bearer), tokens.c.expires_at > as_text(now)
            )
        ).one_or_none()
        if token is None:
            raise Problem(401, "unauthenticated", "unknown or expired enrolment token; ask for a new one")
        if token.enrolment is not None:
            certificate_pem = _enrolled_before(connection, token.enrolment, introduction)
        else:
            _check_bounds(connection, token.site, token.box, introduction)
            certificate_pem = _take_in(receiver, connection, token.id, introduction, now)
    receipt_key = receiver.identity.receipt_key.verifier(chain.ALG_COSIGNATURE)
    return Enrolled(
        box=introduction.box,
        certificate_pem=certificate_pem,
        ca_pem=receiver.identity.ca_pem,
        receipt_key=str(receipt_key),
    )


def revoke(receiver: Receiver, box: str) -> None:
    """Refuse the box from its next request on. What it sent is kept.

    Raises:
        BoxError: if there is no such box. Revoking twice is no error.
    """
    now = receiver.now()
    with receiver.database.write() as connection:
        enrolment = connection.execute(select(boxes.c.enrolment).where(boxes.c.box == box)).scalar()
        if enrolment is None:
            raise BoxError(f"no box {box!r} is enrolled; `alumiguard-receiver box list` shows which are")
        current = update(enrolments).where(enrolments.c.id == enrolment, enrolments.c.revoked_at.is_(None))
        if connection.execute(current.values(revoked_at=as_text(now))).rowcount:
            note_event(connection, now, "box-revoked", "cli", box)


def list_boxes(receiver: Receiver) -> tuple[BoxView, ...]:
    """Every box with its epochs, by name."""
    with receiver.database.read() as connection:
        rows = connection.execute(
            select(boxes, enrolments.c.not_after, enrolments.c.revoked_at)
            .join(enrolments, enrolments.c.id == boxes.c.enrolment)
            .order_by(boxes.c.box)
        ).all()
        held = connection.execute(select(marks).order_by(marks.c.began_at, marks.c.epoch)).all()
        aside = connection.execute(select(set_aside.c.box, func.count()).group_by(set_aside.c.box)).all()
    epochs: dict[str, list[EpochView]] = defaultdict(list)
    for mark in held:
        epochs[mark.box].append(
            EpochView(
                epoch=mark.epoch,
                seq=mark.seq,
                head=mark.head.hex(),
                began_at=mark.began_at,
                advanced_at=mark.advanced_at,
            )
        )
    aside_of = {str(box): int(count) for box, count in aside}
    return tuple(
        BoxView(
            box=row.box,
            site=row.site,
            enrolled_at=row.enrolled_at,
            certificate_not_after=row.not_after,
            last_contact=row.last_contact,
            revoked_at=row.revoked_at,
            records=sum(epoch.seq for epoch in epochs[row.box]),
            set_aside=aside_of.get(row.box, 0),
            epochs=tuple(epochs[row.box]),
        )
        for row in rows
    )


def _read_introduction(request: EnrolRequest) -> _Introduction:
    if not BOX_NAME.fullmatch(request.box) or not is_site_name(request.site):
        detail = "box must be 1 to 63 of a-z, 0-9 and -, site 1 to 64 printable characters; correct them"
        raise Problem(400, "malformed", detail)
    try:
        public_key = read_csr(request.csr_pem, request.box)
        log_key = chain.VerifierKey.parse(request.log_key)
    except (CsrError, chain.NoteError) as error:
        raise Problem(400, "malformed", f"{error}; make the keys anew with `alumiguard enrol`") from error
    expected = f"alumiguard/{request.box}"
    if log_key.name != expected or log_key.algorithm != chain.ALG_ED25519:
        raise Problem(
            400, "malformed", f"log_key is for {log_key.name!r}; it must be a note key of {expected!r}"
        )
    return _Introduction(request.box, request.site, public_key, str(log_key))


def _check_bounds(connection: Connection, site: str, box: str | None, introduction: _Introduction) -> None:
    if introduction.site != site:
        detail = f"this token is for another site; make one with `token create --site {introduction.site}`"
        raise Problem(403, "not-your-site", detail)
    if box is not None and box != introduction.box:
        detail = f"this token is for another box; make one with `token create --box {introduction.box}`"
        raise Problem(403, "not-your-box", detail)
    taken = connection.execute(select(boxes.c.box).where(boxes.c.box == introduction.box)).scalar()
    if taken is not None and box is None:
        detail = (
            f"a box {taken!r} is enrolled already; choose another name, or replace its keys "
            f"with a token made by `token create --box {taken}`"
        )
        raise Problem(409, "exists", detail)


def _take_in(
    receiver: Receiver, connection: Connection, token: int, introduction: _Introduction, now: datetime
) -> str:
    box, site = introduction.box, introduction.site
    certificate = sign_box(receiver.identity, introduction.public_key, box, site, now)
    key = connection.execute(
        insert(enrolments).values(
            box=box,
            at=as_text(now),
            public_key=introduction.public_key.public_bytes_raw(),
            log_key=introduction.log_key,
            certificate_pem=certificate.pem,
            not_after=as_text(certificate.not_after),
        )
    ).inserted_primary_key
    if key is None:
        raise RuntimeError("the database gave the enrolment no id; check the database's version")
    enrolment = int(key[0])
    known = {"site": site, "enrolled_at": as_text(now), "enrolment": enrolment}
    if not connection.execute(update(boxes).where(boxes.c.box == box).values(**known)).rowcount:
        connection.execute(insert(boxes).values(box=box, **known))
    connection.execute(update(tokens).where(tokens.c.id == token).values(enrolment=enrolment))
    note_event(connection, now, "box-enrolled", box, f"at site {site}, enrolment {enrolment}")
    return certificate.pem


def _enrolled_before(connection: Connection, enrolment: int, introduction: _Introduction) -> str:
    row = connection.execute(select(enrolments).where(enrolments.c.id == enrolment)).one()
    told = (introduction.box, introduction.public_key.public_bytes_raw(), introduction.log_key)
    if told != (row.box, row.public_key, row.log_key) or row.revoked_at is not None:
        raise Problem(401, "unauthenticated", "this enrolment token was used; ask for a new one")
    return str(row.certificate_pem)
