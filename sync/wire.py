r"""The batch: how a stretch of the log travels, on every carrier, byte for byte the same.

A batch is one zstd frame of JSON lines, so that `zstdcat batch | jq` reads it:

    {"batch":"alumiguard-batch/1","box":…,"epoch":…,"first":…,"last":…,"previous":…}   the header
    {"seq":…, …}                                                                       the records, verbatim
    {"checkpoint":"alumiguard/box/epoch\n1042\n…"}                                     the signed note

It ends where a checkpoint of the log ends; the note signs the chain head and the tree root after its last
record. The answer to it, the receipt, is that same note with the receiver's cosignature: "I hold you through
this size, with this head, at this time".
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import zstandard

from sync import chain

FORMAT = "alumiguard-batch/1"
MEDIA_TYPE = "application/vnd.alumiguard.batch+zstd"
RECEIPT_MEDIA_TYPE = "text/vnd.alumiguard.receipt"
MAX_RECORDS = 5_000
MAX_RAW_BYTES = 4 * 1024 * 1024
"""Of the records' lines. One record more than fits is never added."""

_MAX_OVERHEAD_BYTES = 64 * 1024
_ZSTD_LEVEL = 9


class BatchError(ValueError):
    """Bytes that are not a batch, or a batch whose parts do not fit together. Nothing of it may be used."""


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Which stretch: records `first` to `last` of an epoch; `previous`: the chain before `first`, hex."""

    box: str
    epoch: str
    first: int
    last: int
    previous: str
    batch: str = FORMAT


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as read: its header, the records' lines, and the checkpoint note, not yet checked."""

    header: BatchHeader
    lines: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True)
class _Trailer:
    checkpoint: str


_header_decoder = msgspec.json.Decoder(BatchHeader)
_trailer_decoder = msgspec.json.Decoder(_Trailer)
_encoder = msgspec.json.Encoder()


def encode_batch(header: BatchHeader, lines: Iterable[bytes], note: bytes) -> bytes:
    """Pack a batch. The same arguments give the same bytes with the same zstd library."""
    parts = [_encoder.encode(header), *lines, _encoder.encode(_Trailer(note.decode())), b""]
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True).compress(b"\n".join(parts))


def decode_batch(packed: bytes) -> Batch:
    """Unpack a batch and check that it is whole: one frame, under the caps, as many lines as it says.

    Raises:
        BatchError: with the reason. No more than MAX_RAW_BYTES and a little is ever decompressed.
    """
    raw = _decompress(packed)
    if not raw.endswith(b"\n"):
        raise BatchError("truncated: its last line does not end")
    lines = raw[:-1].split(b"\n")
    if len(lines) < 3:
        raise BatchError("a batch has a header, at least one record and a checkpoint")
    try:
        header = _header_decoder.decode(lines[0])
        note = _trailer_decoder.decode(lines[-1]).checkpoint.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BatchError(f"its header or checkpoint line cannot be read: {error}") from error
    records = tuple(lines[1:-1])
    if header.batch != FORMAT:
        raise BatchError(f"format {header.batch[:40]!r} is not {FORMAT!r}")
    if not (1 <= header.first <= header.last < 2**63) or len(records) != header.last - header.first + 1:
        raise BatchError(f"it says records {header.first} to {header.last} and holds {len(records)}")
    if len(records) > MAX_RECORDS:
        raise BatchError(f"{len(records)} records are over the limit of {MAX_RECORDS}")
    return Batch(header, records, note)


def verify_batch(
    batch: Batch, key: chain.VerifierKey, frontier: chain.Frontier
) -> tuple[bytes, chain.Frontier]:
    """Check the batch's records against its signed checkpoint.

    Args:
        batch: as `decode_batch` gave it.
        key: the box's log key, under the name of the log's origin.
        frontier: the tree after record `first - 1`, as the reader holds it.

    Returns:
        The chain head and the tree after `last`.

    Raises:
        BatchError: if chain, root, size or origin do not agree with the checkpoint, if `previous` is no chain
            head, or if `frontier` is not that of `first - 1`.
        NoteError: if the checkpoint is not signed by `key`.
    """
    header = batch.header
    checkpoint = chain.parse_checkpoint(chain.open_note(batch.note, key))
    head = _previous_head(header)
    if frontier.size != header.first - 1:
        raise BatchError(f"it starts at record {header.first} and the reader is at {frontier.size}")
    for line in batch.lines:
        leaf = chain.leaf_hash(line)
        head = chain.chain_step(head, leaf)
        frontier = frontier.append(leaf)
    expected = chain.Checkpoint(
        chain.checkpoint_origin(header.box, header.epoch), header.last, frontier.root(), head
    )
    if checkpoint != expected:
        raise BatchError("its records do not lead to the chain head and root that its checkpoint signs")
    return head, frontier


def _previous_head(header: BatchHeader) -> bytes:
    try:
        head = bytes.fromhex(header.previous)
    except ValueError as error:
        raise BatchError("the chain before its first record is not hex") from error
    if len(head) != chain.HASH_BYTES or head.hex() != header.previous:
        raise BatchError(f"the chain before its first record is not {chain.HASH_BYTES} bytes of plain hex")
    if header.first == 1 and head != chain.chain_start(header.box, header.epoch):
        raise BatchError("its first record does not follow the header of its epoch")
    return head


def _decompress(packed: bytes) -> bytes:
    """Unpack exactly one frame whose stated size is under the limit: a bomb is refused before it is lit."""
    limit = MAX_RAW_BYTES + MAX_RECORDS + _MAX_OVERHEAD_BYTES
    try:
        size = zstandard.get_frame_parameters(packed).content_size
        if size > limit:  # a frame that does not state its size reads as 2**64 - 1
            raise BatchError(f"it would unpack to more than {limit} bytes, or does not say to how many")
        return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BatchError(f"not one whole zstd frame: {error}") from error
