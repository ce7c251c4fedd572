"""Who is calling: a box by a short token that its key signed, a person or program by an API key.

Secrets are 256 random bits, so that a plain SHA-256 of them is enough to keep; only that is stored.
"""

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select, update

from cloud_receiver.ca import BOX_NAME
from cloud_receiver.database import Database, api_keys, as_text, boxes, enrolments, tokens
from cloud_receiver.problems import Problem

AUDIENCE = "alumiguard-receiver"
TOKEN_PREFIX = "age_"  # noqa: S105 - a prefix, so that a leaked one is recognised; not a secret
API_KEY_PREFIX = "agk_"
MAX_LIFETIME_SECONDS = 300
MAX_SKEW_SECONDS = 300

_MAX_JTI_CHARACTERS = 128
_MAX_BEARER_CHARACTERS = 4096


class Role(StrEnum):
    """What an API key may read: `reader` boxes, records, figures; `admin` security events as well."""

    READER = "reader"
    ADMIN = "admin"


class Freshness(StrEnum):
    """Whether a box's token was made just now, as far as the receiver's clock can tell."""

    FRESH = "fresh"
    UNKNOWN = "unknown"
    """The box's clock is wrong, or this is an old token again. Only a batch that proves itself counts."""


@dataclass(frozen=True, slots=True)
class BoxCaller:
    """A box, known by the key it enrolled with."""

    box: str
    enrolment: int
    log_key: str
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class KeyCaller:
    """The holder of an API key."""

    name: str
    role: Role


@dataclass(slots=True)
class SeenTokens:
    """The ids of fresh box tokens, for as long as they stay fresh: each is good for one request.

    Kept in memory: after a restart a token of the last five minutes works once more, for nothing that the
    batch which comes with it does not prove by itself.
    """

    _until: dict[tuple[str, str], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def first_time(self, box: str, token_id: str, now_seconds: float) -> bool:
        """Remember the id, and tell whether it is new."""
        with self._lock:
            for key, until in list(self._until.items()):  # oldest first
                if until >= now_seconds:
                    break
                del self._until[key]
            if (box, token_id) in self._until:
                return False
            # a token may be stamped up to MAX_SKEW_SECONDS ahead, and is fresh as long again after that
            self._until[box, token_id] = now_seconds + 2 * MAX_SKEW_SECONDS
            return True


def new_secret(prefix: str) -> str:
    """A secret to be shown once."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is stored of a secret."""
    return sha256(secret.encode()).hexdigest()


def key_caller(database: Database, bearer: str) -> KeyCaller:
    """Who holds this API key.

    Raises:
        Problem: 401 if there is no such key, or it was revoked.
    """
    _check_bearer(bearer, "make an API key with `alumiguard-receiver key create`")
    key = api_keys.c
    query = select(key.name, key.role).where(key.secret_sha256 == digest_of(bearer), key.revoked_at.is_(None))
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise _unauthenticated("unknown API key; make one with `alumiguard-receiver key create`")
    return KeyCaller(row.name, Role(row.role))


def check_token(database: Database, bearer: str, now: datetime) -> int:
    """The id of an enrolment token that exists and has not expired. It may have been used.

    Raises:
        Problem: 401 if there is none.
    """
    _check_bearer(bearer, "make a token with `alumiguard-receiver token create`")
    query = select(tokens.c.id, tokens.c.expires_at).where(tokens.c.secret_sha256 == digest_of(bearer))
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.expires_at <= as_text(now):
        raise _unauthenticated(
            "unknown or expired enrolment token; make one with `alumiguard-receiver token create`"
        )
    return int(row.id)


def box_caller(database: Database, bearer: str, now: datetime, seen: SeenTokens) -> BoxCaller:
    """Which box signed this token, and whether it did so just now.

    A wrong clock alone refuses nobody: boxes may wake in 1970. See the README, "Tokens and wrong clocks".

    Raises:
        Problem: 401 if no enrolled key signed it, if it is good for more than MAX_LIFETIME_SECONDS, or was
            used before; 403 `revoked` if the key was revoked.
    """
    _check_bearer(bearer, "a box signs one with its key after `alumiguard enrol`")
    claimed = _claimed_box(bearer)
    query = (
        select(enrolments.c.id, enrolments.c.public_key, enrolments.c.log_key, enrolments.c.revoked_at)
        .join(boxes, boxes.c.enrolment == enrolments.c.id)
        .where(boxes.c.box == claimed)
    )
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise _unauthenticated(f"no box {claimed!r} is enrolled here; enrol it with `alumiguard enrol`")
    claims = _verified_claims(bearer, Ed25519PublicKey.from_public_bytes(row.public_key))
    if row.revoked_at is not None:
        raise Problem(
            403,
            "revoked",
            f"box {claimed!r} was revoked; to take it back, enrol it with a token made by "
            f"`alumiguard-receiver token create --box {claimed}`",
        )
    freshness = _freshness(claimed, claims, now.timestamp(), seen)
    return BoxCaller(claimed, int(row.id), str(row.log_key), freshness)


def require_role(caller: KeyCaller, role: Role) -> None:
    """Check that the key may do what `role` may; an admin may do everything.

    Raises:
        Problem: 403 if it may not.
    """
    if caller.role not in (role, Role.ADMIN):
        detail = f"the API key {caller.name!r} is a {caller.role}; use one of role {role}"
        raise Problem(403, "forbidden", detail)


def touch(database: Database, box: str, now: datetime) -> None:
    """Note that the box was heard."""
    with database.write() as connection:
        connection.execute(update(boxes).where(boxes.c.box == box).values(last_contact=as_text(now)))


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "unauthenticated", detail)


def _check_bearer(bearer: str, next_step: str) -> None:
    if not bearer:
        raise _unauthenticated(f"no `Authorization: Bearer` header; {next_step}")
    if len(bearer) > _MAX_BEARER_CHARACTERS:
        raise _unauthenticated(f"the bearer token is over {_MAX_BEARER_CHARACTERS} characters; {next_step}")


def _claimed_box(bearer: str) -> str:
    try:
        claims = jwt.decode(bearer, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise _unauthenticated(f"not a token that a box signed: {error}; use the box's own uplink") from error
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not BOX_NAME.fullmatch(issuer):
        raise _unauthenticated("the token names no box as its issuer; use the box's own uplink")
    return issuer


def _verified_claims(bearer: str, key: Ed25519PublicKey) -> dict[str, Any]:
    # its times are compared by `_freshness`: whether exp has passed is not for a wrong clock to say
    trusting_no_clock: Any = {
        "require": ["iss", "iat", "exp", "jti"],
        "verify_exp": False,
        "verify_iat": False,
        "verify_nbf": False,
    }
    try:
        return jwt.decode(bearer, key=key, algorithms=["EdDSA"], audience=AUDIENCE, options=trusting_no_clock)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise _unauthenticated(
            f"the token does not hold: {error}; if the box was set up anew, enrol it again"
        ) from error


def _freshness(box: str, claims: dict[str, Any], now_seconds: float, seen: SeenTokens) -> Freshness:
    issued, expires, token_id = claims["iat"], claims["exp"], claims["jti"]
    if type(issued) is not int or type(expires) is not int or len(token_id) > _MAX_JTI_CHARACTERS:
        raise _unauthenticated("iat and exp must be whole seconds and jti short; update the box's software")
    if issued < 0 or not 0 < expires - issued <= MAX_LIFETIME_SECONDS:
        raise _unauthenticated(
            f"the token is good for {expires - issued} s; make it for at most {MAX_LIFETIME_SECONDS} s"
        )
    if abs(issued - int(now_seconds)) > MAX_SKEW_SECONDS:
        return Freshness.UNKNOWN
    if not seen.first_time(box, token_id, now_seconds):
        raise _unauthenticated("this token was used before; sign a new one for every request")
    return Freshness.FRESH
