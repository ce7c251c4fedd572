"""Real signed batches and real box tokens, made without the box: keys, lines, checkpoints, CSR, JWT."""

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sync import chain, wire
from sync.record import ClockQuality, LotStarted, encode

AUDIENCE = "alumiguard-receiver"


@dataclass(frozen=True)
class BoxKeys:
    """A box's name and its two private keys."""

    box: str
    box_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    log_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def csr_pem(self, name: str | None = None) -> str:
        """The certificate request, for the box's own name unless told otherwise."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or self.box)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self.box_key, None)
        return request.public_bytes(Encoding.PEM).decode()

    def introduction(self, site: str, /, **changes: str) -> dict[str, str]:
        """The JSON of an enrolment request."""
        log_key = chain.SignerKey(f"alumiguard/{self.box}", self.log_key).verifier()
        asked = {"box": self.box, "site": site, "csr_pem": self.csr_pem(), "log_key": str(log_key)}
        return asked | changes

    def token(self, issued_at: int | None = None, lifetime_seconds: int = 120, **changes: Any) -> str:
        """A token for one request; `changes` replace claims, None removes one."""
        issued = int(time.clock_gettime(time.CLOCK_REALTIME)) if issued_at is None else issued_at
        claims = {
            "iss": self.box,
            "aud": AUDIENCE,
            "iat": issued,
            "exp": issued + lifetime_seconds,
            "jti": uuid.uuid4().hex,
        }
        kept = {name: value for name, value in (claims | changes).items() if value is not None}
        # signed as bytes: PyJWT refuses to make the malformed tokens that some tests are about
        return jwt.api_jws.encode(json.dumps(kept).encode(), self.box_key, algorithm="EdDSA")

    def bearer(self, issued_at: int | None = None, **changes: Any) -> dict[str, str]:
        """The header that carries a new token."""
        return {"Authorization": f"Bearer {self.token(issued_at, **changes)}"}


@dataclass(frozen=True)
class BuiltBatch:
    """A batch and what it was made of."""

    header: wire.BatchHeader
    lines: tuple[bytes, ...]
    note: bytes

    @property
    def packed(self) -> bytes:
        """The bytes that travel."""
        return wire.encode_batch(self.header, self.lines, self.note)

    def changed(self, **header: Any) -> bytes:
        """The bytes with another header, everything else as signed."""
        return wire.encode_batch(replace(self.header, **header), self.lines, self.note)


@dataclass
class LogBuilder:
    """A box's log as far as it was built. `copy` forks it, as a cloned disk would."""

    keys: BoxKeys
    epoch: str = "first-epoch"
    head: bytes = b""
    frontier: chain.Frontier = field(default_factory=chain.Frontier)

    def __post_init__(self) -> None:
        if not self.head:
            self.head = chain.chain_start(self.keys.box, self.epoch)

    def copy(self) -> "LogBuilder":
        """Another log with the same past."""
        return replace(self)

    def batch(self, count: int = 3, *, lot: str = "coil") -> BuiltBatch:
        """Append `count` records and sign."""
        first = self.frontier.size + 1
        return self.batch_of(record_line(seq, f"{lot}-{seq}") for seq in range(first, first + count))

    def batch_of(self, lines: Iterable[bytes]) -> BuiltBatch:
        """Append these lines, whatever they are, and sign."""
        kept, previous, first = tuple(lines), self.head, self.frontier.size + 1
        for line in kept:
            leaf = chain.leaf_hash(line)
            self.head = chain.chain_step(self.head, leaf)
            self.frontier = self.frontier.append(leaf)
        header = wire.BatchHeader(self.keys.box, self.epoch, first, self.frontier.size, previous.hex())
        return BuiltBatch(header, kept, self.sign())

    def sign(self, key: Ed25519PrivateKey | None = None) -> bytes:
        """The checkpoint note of where the log stands."""
        origin = chain.checkpoint_origin(self.keys.box, self.epoch)
        body = chain.Checkpoint(origin, self.frontier.size, self.frontier.root(), self.head).body()
        return chain.sign_note(body, chain.SignerKey(origin, key or self.keys.log_key))


def record_line(seq: int, lot: str = "coil") -> bytes:
    """One record's line."""
    stamp = ("2026-03-01T10:00:00.000000Z", "boot-1", seq * 1000, ClockQuality.NTP)
    return encode(seq, *stamp, LotStarted(lot=lot))
