"""A receiver in miniature for the box's side: enrols, verifies batches for real, cosigns, fails on demand."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sync import chain, wire
from tests.support.box_log import RECEIPT_KEY, RECEIVER

TOKEN = "age_once"
Fault = Callable[[httpx.Request, httpx.Response | None], httpx.Response | None]
"""Sees a request before it is served (no response yet) and after; may raise, or answer in its place."""


@dataclass
class Mark:
    """How far an epoch is held."""

    seq: int
    head: bytes
    frontier: chain.Frontier


@dataclass
class ReceiverPeer(httpx.AsyncBaseTransport):
    """A transport whose far end is a receiver. `faults` are used up, one a request."""

    receipt_signer: chain.SignerKey = RECEIVER
    box_key: Ed25519PublicKey | None = None
    log_key: chain.VerifierKey | None = None
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    marks: dict[str, Mark] = field(default_factory=dict)
    receipts: dict[bytes, bytes] = field(default_factory=dict)
    posted: list[bytes] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    cosigned_at: int = 1_772_366_400

    def client(self) -> httpx.AsyncClient:
        """A client whose every request comes here."""
        return httpx.AsyncClient(transport=self, base_url="http://receiver.example")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve one request."""
        await request.aread()
        fault = self.faults.popleft() if self.faults else None
        answer = fault(request, None) if fault else None
        if answer is not None:
            return answer
        serve = {"/v1/enrol": self._enrol, "/v1/batches": self._take}[request.url.path]
        answer = serve(request)
        return (fault(request, answer) if fault else None) or answer

    def _enrol(self, request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token not in self.tokens:
            return problem(401, "unauthenticated", "the token was used")
        self.tokens.remove(token)
        asked = json.loads(request.content)
        csr = x509.load_pem_x509_csr(asked["csr_pem"].encode())
        key = csr.public_key()
        if not isinstance(key, Ed25519PublicKey) or not csr.is_signature_valid:
            return problem(400, "malformed", "not a request that an Ed25519 key signed")
        self.box_key, self.log_key = key, chain.VerifierKey.parse(asked["log_key"])
        certificate = signed_certificate(key, asked["box"])
        told = {
            "box": asked["box"],
            "certificate_pem": certificate,
            "ca_pem": certificate,
            "receipt_key": str(RECEIPT_KEY),
        }
        return httpx.Response(201, json=told)

    def _take(self, request: httpx.Request) -> httpx.Response:
        if self.box_key is None or self.log_key is None:
            return problem(401, "unauthenticated", "no box is enrolled")
        bearer = request.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(
            bearer,
            self.box_key,
            algorithms=["EdDSA"],
            audience="alumiguard-receiver",
            options={"verify_exp": False, "verify_iat": False},
        )
        if request.headers["Content-Type"] != wire.MEDIA_TYPE or claims["exp"] - claims["iat"] > 300:
            return problem(400, "malformed", "not what was agreed")
        self.posted.append(request.content)
        return self._place(request.content)

    def _place(self, packed: bytes) -> httpx.Response:
        batch = wire.decode_batch(packed)
        header = batch.header
        start = Mark(0, chain.chain_start(header.box, header.epoch), chain.Frontier())
        mark = self.marks.get(header.epoch, start)
        if packed in self.receipts and header.last <= mark.seq:
            return httpx.Response(200, content=self.receipts[packed])
        if header.first != mark.seq + 1:
            return problem(
                409, "gap" if header.first > mark.seq else "overlap", "not next", header.epoch, mark
            )
        if header.previous != mark.head.hex():
            return problem(409, "fork", "another history", header.epoch, mark)
        if self.log_key is None:
            return problem(401, "unauthenticated", "no box is enrolled")
        key = chain.VerifierKey(chain.checkpoint_origin(header.box, header.epoch), self.log_key.public_key)
        head, frontier = wire.verify_batch(batch, key, mark.frontier)
        self.marks[header.epoch] = Mark(header.last, head, frontier)
        self.cosigned_at += 1
        self.receipts[packed] = chain.cosign(batch.note, self.receipt_signer, self.cosigned_at)
        return httpx.Response(200, content=self.receipts[packed])

    def held(self, epoch: str) -> int:
        """The seq through which an epoch is held."""
        return self.marks[epoch].seq if epoch in self.marks else 0


def problem(status: int, code: str, detail: str, epoch: str = "", mark: Mark | None = None) -> httpx.Response:
    """A refusal, as the real receiver gives it."""
    told: dict[str, object] = {
        "type": f"urn:alumiguard:problem:{code}",
        "title": code,
        "status": status,
        "detail": detail,
    }
    if mark is not None:
        told["mark"] = {"epoch": epoch, "seq": mark.seq, "head": mark.head.hex()}
    return httpx.Response(status, json=told, headers={"Content-Type": "application/problem+json"})


def signed_certificate(key: Ed25519PublicKey, box: str) -> str:
    """A certificate for the box, by a CA that nobody knows."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, box)])
    began = datetime(2026, 3, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=365))
        .sign(Ed25519PrivateKey.generate(), None)
    )
    return certificate.public_bytes(Encoding.PEM).decode()


# --- faults -----------------------------------------------------------------------------------------------


def unreachable(request: httpx.Request, _answer: httpx.Response | None) -> httpx.Response | None:
    """Nobody answers."""
    raise httpx.ConnectError("no route to host", request=request)


def reply_lost(request: httpx.Request, answer: httpx.Response | None) -> httpx.Response | None:
    """The request is served, and the connection breaks before the answer is back."""
    if answer is not None:
        raise httpx.ReadError("connection reset", request=request)
    return None


def answering(response: httpx.Response) -> Fault:
    """Something else answers in the receiver's place."""
    return lambda _request, _answer: response
