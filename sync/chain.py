"""The chain, the tree beside it, and the signed notes that pin both. Pure functions over bytes.

Sources: RFC 6962 section 2.1 (leaf and node hashes), C2SP tlog-checkpoint, signed-note and tlog-cosignature
(https://c2sp.org). The chain head rides in a checkpoint as its one extension line, `chain <base64>`.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HASH_BYTES = 32
MAX_NOTE_BYTES = 16 * 1024
ALG_ED25519 = 0x01
ALG_COSIGNATURE = 0x04


class NoteError(ValueError):
    """A signed note that cannot be read or whose signature does not hold."""


# --- chain ------------------------------------------------------------------------------------------------


def chain_start(box: str, epoch: str) -> bytes:
    """chain_0 of an epoch: the digest of its header, so that two epochs can never share a chain."""
    return sha256(f"alumiguard-epoch/1\n{box}\n{epoch}\n".encode()).digest()


def leaf_hash(line: bytes) -> bytes:
    """SHA-256(0x00 || line), the leaf hash of RFC 6962."""
    return sha256(b"\x00" + line).digest()


def chain_step(previous: bytes, leaf: bytes) -> bytes:
    """chain_n = SHA-256(chain_{n-1} || leaf_n)."""
    return sha256(previous + leaf).digest()


# --- tree -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of an RFC 6962 tree: all that is needed to append to it and to tell its root.

    `peaks` holds the roots of its perfect subtrees, largest first; there is one for each bit set in `size`.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> "Frontier":
        """The tree with one more leaf hash."""
        peaks = list(self.peaks)
        node, size = leaf, self.size
        while size & 1:
            node = sha256(b"\x01" + peaks.pop() + node).digest()
            size >>= 1
        peaks.append(node)
        return Frontier(self.size + 1, tuple(peaks))

    def root(self) -> bytes:
        """The tree's root hash; that of the empty tree is SHA-256 of nothing."""
        if not self.peaks:
            return sha256(b"").digest()
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = sha256(b"\x01" + peak + node).digest()
        return node

    def to_bytes(self) -> bytes:
        """Size (8 bytes, big-endian) and the peaks, to be kept and read back by `from_bytes`."""
        return struct.pack(">Q", self.size) + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Frontier":
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if the number of peaks does not fit the size.
        """
        if len(stored) < 8:
            raise ValueError(f"{len(stored)} bytes are too few for a tree")
        (size,) = struct.unpack(">Q", stored[:8])
        peaks = tuple(stored[at : at + HASH_BYTES] for at in range(8, len(stored), HASH_BYTES))
        if len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, {len(peaks)} were kept")
        return cls(size, peaks)


# --- checkpoint -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's state at `size` records: RFC 6962 root and chain head."""

    origin: str
    size: int
    root: bytes
    head: bytes

    def body(self) -> bytes:
        """The text that is signed (C2SP tlog-checkpoint): origin, size, root, `chain` line."""
        root, head = base64.b64encode(self.root).decode(), base64.b64encode(self.head).decode()
        return f"{self.origin}\n{self.size}\n{root}\nchain {head}\n".encode()


def checkpoint_origin(box: str, epoch: str) -> str:
    """The origin line of a box's log, which is also the key name in its notes."""
    return f"alumiguard/{box}/{epoch}"


def parse_checkpoint(body: bytes) -> Checkpoint:
    """Read a checkpoint's text, the part of the note above the empty line.

    Raises:
        NoteError: if it is not the four lines of `Checkpoint.body`.
    """
    try:
        origin, size, root_text, chain_text, end = body.decode().split("\n")
        word, head_text = chain_text.split(" ")
        root = base64.b64decode(root_text, validate=True)
        head = base64.b64decode(head_text, validate=True)
        count = int(size)
    except (ValueError, binascii.Error) as error:
        raise NoteError(f"not a checkpoint: {error}") from error
    checkpoint = Checkpoint(origin, count, root, head)
    canonical = checkpoint.body() == body and word == "chain" and not end
    if not canonical or not 0 <= count < 2**63 or len(root) != HASH_BYTES or len(head) != HASH_BYTES:
        raise NoteError("not a checkpoint: its size, root or chain line is malformed")
    return checkpoint


# --- signed notes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name, written `name+keyid+base64(algorithm || key)` (C2SP signed-note)."""

    name: str
    public_key: Ed25519PublicKey
    algorithm: int = ALG_ED25519

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || newline || algorithm || key), the first four bytes."""
        typed = bytes([self.algorithm]) + self.public_key.public_bytes_raw()
        return sha256(self.name.encode() + b"\n" + typed).digest()[:4]

    def __str__(self) -> str:
        typed = bytes([self.algorithm]) + self.public_key.public_bytes_raw()
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(typed).decode()}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a key as `str()` writes it.

        Raises:
            NoteError: if it is not such a key, or its id does not belong to it.
        """
        try:
            name, key_id, typed_text = text.strip().split("+", 2)
            typed = base64.b64decode(typed_text, validate=True)
            key = cls(name, Ed25519PublicKey.from_public_bytes(typed[1:]), typed[0])
        except (ValueError, IndexError) as error:
            raise NoteError(f"not a verifier key (name+id+base64): {text[:80]!r}") from error
        if key.key_id.hex() != key_id or key.algorithm not in (ALG_ED25519, ALG_COSIGNATURE):
            raise NoteError(f"the id of the verifier key {name!r} does not belong to it")
        return key


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A private key with the name it signs under."""

    name: str
    private_key: Ed25519PrivateKey

    def verifier(self, algorithm: int = ALG_ED25519) -> VerifierKey:
        """The public half, for notes (default) or for cosignatures."""
        return VerifierKey(self.name, self.private_key.public_key(), algorithm)


def sign_note(body: bytes, key: SignerKey) -> bytes:
    """The note: body, empty line, one signature line. `body` is UTF-8 text that ends in a newline."""
    return body + b"\n" + _signature_line(key.verifier(), key.private_key.sign(body))


def open_note(note: bytes, key: VerifierKey) -> bytes:
    """The body of a note that `key` has signed.

    Raises:
        NoteError: if the note is malformed, or carries no valid signature by `key`.
    """
    body, signatures = _split_note(note)
    for name, key_id, signature in signatures:
        if name == key.name and key_id == key.key_id:
            _verify(key, signature, body)
            return body
    raise NoteError(f"no signature by {key.name!r} on this note")


def cosign(note: bytes, key: SignerKey, time_s: int) -> bytes:
    """The note with a timestamped cosignature added (C2SP tlog-cosignature): "I held this at that time"."""
    body, _ = _split_note(note)
    signature = struct.pack(">Q", time_s) + key.private_key.sign(_cosigned_text(body, time_s))
    return note + _signature_line(key.verifier(ALG_COSIGNATURE), signature)


def open_cosignature(note: bytes, key: VerifierKey) -> tuple[bytes, int]:
    """The body of a cosigned note, and the seconds since 1970 at which `key` cosigned it.

    Raises:
        NoteError: if the note is malformed, or carries no valid cosignature by `key`.
    """
    body, signatures = _split_note(note)
    for name, key_id, signature in signatures:
        if name == key.name and key_id == key.key_id and len(signature) == 8 + 64:
            (time_s,) = struct.unpack(">Q", signature[:8])
            _verify(key, signature[8:], _cosigned_text(body, time_s))
            return body, time_s
    raise NoteError(f"no cosignature by {key.name!r} on this note")


def note_body(note: bytes) -> bytes:
    """The body of a note whose signatures nobody has checked yet. For telling whose key to look up.

    Raises:
        NoteError: if the note is malformed.
    """
    return _split_note(note)[0]


def _cosigned_text(body: bytes, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n".encode() + body


def _signature_line(key: VerifierKey, signature: bytes) -> bytes:
    return f"— {key.name} {base64.b64encode(key.key_id + signature).decode()}\n".encode()


def _split_note(note: bytes) -> tuple[bytes, list[tuple[str, bytes, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"a note of {len(note)} bytes is over the limit of {MAX_NOTE_BYTES}")
    body, separator, tail = note.rpartition(b"\n\n")
    if not separator or not tail.endswith(b"\n"):
        raise NoteError("not a signed note: no signature lines after an empty line")
    try:
        signatures = [_read_signature_line(line) for line in tail.decode().removesuffix("\n").split("\n")]
    except ValueError as error:
        raise NoteError(f"not a signed note: {error}") from error
    return body + b"\n", signatures


def _read_signature_line(line: str) -> tuple[str, bytes, bytes]:
    dash, name, encoded = line.split(" ")
    blob = base64.b64decode(encoded, validate=True)
    canonical = base64.b64encode(blob).decode() == encoded  # else its last bits could be changed unseen
    if dash != "—" or not name or len(blob) <= 4 or not canonical:
        raise ValueError(f"malformed signature line {line[:80]!r}")
    return name, blob[:4], blob[4:]


def _verify(key: VerifierKey, signature: bytes, text: bytes) -> None:
    try:
        key.public_key.verify(signature, text)
    except InvalidSignature as error:
        raise NoteError(f"the signature by {key.name!r} does not hold: the note was changed") from error
