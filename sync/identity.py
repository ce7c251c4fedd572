"""Who a box is: two keys made on it, a certificate for the outer one, and the receiver that it trusts.

`box.key` signs the tokens of its requests and is what the certificate is for; `log.key` signs the log and is
never used for anything else. The folder holds them as PEM, readable by the box alone.
"""

import secrets
import stat
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from sync import chain, durable

AUDIENCE = "alumiguard-receiver"
TOKEN_SECONDS = 240
"""How long a request's token is good; a receiver refuses more than 300."""

_BOX_KEY, _LOG_KEY, _CERTIFICATE, _CA, _RECEIVER = "box.key", "log.key", "box.crt", "ca.crt", "receiver.json"


class IdentityError(Exception):
    """The box's keys, or its enrolment, cannot be used or made."""


class AlreadyEnrolled(IdentityError):
    """The box has a receiver."""


class EnrolmentRefused(IdentityError):
    """The receiver says no: the token was used, has expired, or is for another site."""


class ReceiverUnreachable(IdentityError):
    """Nobody, or nothing that makes sense, answers there. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where the batches go, and the key that its receipts are cosigned with."""

    url: str
    receipt_key: chain.VerifierKey


@dataclass(frozen=True, slots=True)
class Identity:
    """A box's keys. `receiver` is None before the box was enrolled."""

    folder: Path
    box: str
    box_key: Ed25519PrivateKey
    log_key: Ed25519PrivateKey
    receiver: Receiver | None

    @property
    def log_verifier(self) -> chain.VerifierKey:
        """The public half of the log key, under the box's name; for `verify` and for enrolment."""
        return chain.VerifierKey(f"alumiguard/{self.box}", self.log_key.public_key())

    @property
    def certificate_path(self) -> Path:
        """The box's certificate, PEM; there once the box was enrolled."""
        return self.folder / _CERTIFICATE

    @property
    def box_key_path(self) -> Path:
        """The private key of that certificate, PEM."""
        return self.folder / _BOX_KEY

    @property
    def ca_path(self) -> Path:
        """The certificate of the receiver's CA, PEM; there once the box was enrolled."""
        return self.folder / _CA

    def token(self, now_seconds: float) -> str:
        """A token for one request: EdDSA JWT by the box key, good for TOKEN_SECONDS from `now_seconds`."""
        issued = int(now_seconds)
        claims = {
            "iss": self.box,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued + TOKEN_SECONDS,
            "jti": secrets.token_urlsafe(16),
        }
        return jwt.encode(claims, self.box_key, algorithm="EdDSA")


def load_or_create(folder: Path, box: str) -> Identity:
    """The keys in this folder, made at the first call, and the enrolment if there is one.

    Raises:
        IdentityError: if a file cannot be read as what it should be, or others could read a key.
        OSError: if the disk refuses.
    """
    durable.make_folder(folder, 0o700)
    return Identity(folder, box, _key(folder / _BOX_KEY), _key(folder / _LOG_KEY), _receiver(folder))


async def enrol(client: httpx.AsyncClient, folder: Path, box: str, site: str, token: str) -> Identity:
    """Introduce the box to the receiver at `client.base_url`, with a one-use token, and keep its answer.

    Asking again with the same keys after a lost answer is safe: the receiver gives the same one.

    Raises:
        AlreadyEnrolled: if the folder holds an enrolment.
        EnrolmentRefused: if the receiver says no.
        ReceiverUnreachable: if nobody answers, or something that is not a receiver.
        IdentityError, OSError: as `load_or_create` does.
    """
    identity = load_or_create(folder, box)
    if identity.receiver is not None:
        raise AlreadyEnrolled(
            f"box {box!r} is enrolled at {identity.receiver.url}: to change the receiver, "
            f"move {folder / _RECEIVER} away and enrol again"
        )
    request = {
        "box": box,
        "site": site,
        "csr_pem": _csr(identity.box_key, box),
        "log_key": str(identity.log_verifier),
    }
    try:
        answer = await client.post("/v1/enrol", json=request, headers={"Authorization": f"Bearer {token}"})
    except httpx.RequestError as error:
        raise ReceiverUnreachable(
            f"no answer from {client.base_url} ({str(error) or type(error).__name__}): "
            "check the address, the network and that the receiver runs, then enrol again"
        ) from error
    _store(identity, str(client.base_url), _enrolled(answer, identity))
    return load_or_create(folder, box)


@dataclass(frozen=True, slots=True)
class _Enrolled:
    box: str
    certificate_pem: str
    ca_pem: str
    receipt_key: str


@dataclass(frozen=True, slots=True)
class _StoredReceiver:
    receiver: str
    receipt_key: str


def _enrolled(answer: httpx.Response, identity: Identity) -> _Enrolled:
    """The receiver's answer, checked to be about this box and its key."""
    if answer.status_code in (400, 401, 403, 409, 422):
        raise EnrolmentRefused(
            f"{answer.url.host} does not enrol box {identity.box!r}: {_problem_detail(answer)}; "
            "ask for a new token if this one was used or has expired"
        )
    if answer.status_code != HTTPStatus.CREATED:
        raise ReceiverUnreachable(
            f"{answer.url} answered {answer.status_code} to the enrolment: "
            "check that this is the receiver's address, then enrol again"
        )
    try:
        enrolled = msgspec.json.decode(answer.content, type=_Enrolled)
        certificate = x509.load_pem_x509_certificate(enrolled.certificate_pem.encode())
        x509.load_pem_x509_certificate(enrolled.ca_pem.encode())
        receipt_key = chain.VerifierKey.parse(enrolled.receipt_key)
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        raise ReceiverUnreachable(
            f"{answer.url} answered with something that is no enrolment ({error}): "
            "check that this is the receiver's address, then enrol again"
        ) from error
    ours = identity.box_key.public_key()
    if enrolled.box != identity.box or certificate.public_key() != ours:
        raise ReceiverUnreachable(f"{answer.url} enrolled another box than {identity.box!r}: enrol again")
    if receipt_key.algorithm != chain.ALG_COSIGNATURE:
        raise ReceiverUnreachable(f"{answer.url} gave a receipt key that cannot cosign: update the receiver")
    return enrolled


def _store(identity: Identity, url: str, enrolled: _Enrolled) -> None:
    """Keep the answer; `receiver.json` comes last, because it is what makes the box enrolled."""
    durable.write_file(identity.certificate_path, enrolled.certificate_pem.encode(), 0o600)
    durable.write_file(identity.ca_path, enrolled.ca_pem.encode(), 0o600)
    stored = msgspec.json.encode(_StoredReceiver(url.rstrip("/"), enrolled.receipt_key))
    durable.write_file(identity.folder / _RECEIVER, stored, 0o600)


def _receiver(folder: Path) -> Receiver | None:
    path = folder / _RECEIVER
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_StoredReceiver)
        return Receiver(stored.receiver, chain.VerifierKey.parse(stored.receipt_key))
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, ValueError) as error:
        raise IdentityError(
            f"{path} cannot be read ({error}): restore it from the backup, or move it away and enrol again"
        ) from error


def _key(path: Path) -> Ed25519PrivateKey:
    """Read a private key, or make it."""
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        pem = made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        durable.write_file(path, pem, 0o600)
        return made
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise IdentityError(f"others may read {path}: run `chmod 600 {path}`, and ask who read it")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise IdentityError(f"{path} is no private key ({error}): restore it from the backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{path} is no Ed25519 key: restore it from the backup")
    return key


def _csr(key: Ed25519PrivateKey, box: str) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, box)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def _problem_detail(answer: httpx.Response) -> str:
    try:
        problem: Any = msgspec.json.decode(answer.content)
    except (msgspec.DecodeError, UnicodeError):
        return f"status {answer.status_code}"
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return str(detail or f"status {answer.status_code}")[:500]
