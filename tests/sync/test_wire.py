import io
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sync import chain, record, wire
from tests.support.box_log import BOX, LOG_KEY, coverage

EPOCH = "epoch1"
SIGNER = chain.SignerKey(chain.checkpoint_origin(BOX, EPOCH), LOG_KEY)


def built(count: int = 3) -> tuple[wire.BatchHeader, list[bytes], bytes]:
    """The first batch of a log."""
    head, frontier = chain.chain_start(BOX, EPOCH), chain.Frontier()
    header = wire.BatchHeader(BOX, EPOCH, 1, count, head.hex())
    lines = [
        record.encode(seq, "", "b", seq, record.ClockQuality.NTP, coverage()) for seq in range(1, count + 1)
    ]
    for line in lines:
        leaf = chain.leaf_hash(line)
        head, frontier = chain.chain_step(head, leaf), frontier.append(leaf)
    note = chain.sign_note(chain.Checkpoint(SIGNER.name, count, frontier.root(), head).body(), SIGNER)
    return header, lines, note


def test_a_batch_reads_back_and_verifies() -> None:
    header, lines, note = built()
    batch = wire.decode_batch(wire.encode_batch(header, lines, note))
    assert batch == wire.Batch(header, tuple(lines), note)
    head, frontier = wire.verify_batch(batch, SIGNER.verifier(), chain.Frontier())
    assert frontier.size == 3
    assert chain.parse_checkpoint(chain.note_body(note)).head == head


def test_a_batch_is_json_lines_to_any_zstd() -> None:
    header, lines, note = built()
    packed = wire.encode_batch(header, lines, note)
    text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read().decode()
    assert text.splitlines()[1:-1] == [line.decode() for line in lines]


@pytest.mark.parametrize(
    "previous", ["", "not hex", "00", "zz" * 32, " " + "00" * 31, "AB" * 32, "00" * 32, "ä" * 64]
)
def test_a_header_whose_previous_chain_is_none_is_a_batch_error(previous: str) -> None:
    header, lines, note = built()
    batch = wire.Batch(replace(header, previous=previous), tuple(lines), note)
    with pytest.raises(wire.BatchError):
        wire.verify_batch(batch, SIGNER.verifier(), chain.Frontier())


def test_a_batch_is_verified_only_where_the_reader_is() -> None:
    batch = wire.Batch(*[tuple(part) if isinstance(part, list) else part for part in built()])  # type: ignore[arg-type]  # header, lines, note
    with pytest.raises(wire.BatchError, match="the reader is at 1"):
        wire.verify_batch(batch, SIGNER.verifier(), chain.Frontier().append(bytes(32)))


@pytest.mark.parametrize(
    "change", [lambda line: line[:-1] + b" }", lambda line: line.replace(b"top", b"tip")]
)
def test_a_changed_record_does_not_verify(change: object) -> None:
    header, lines, note = built()
    lines[1] = change(lines[1])  # type: ignore[operator]  # one of the two above
    batch = wire.decode_batch(wire.encode_batch(header, lines, note))
    with pytest.raises(wire.BatchError, match="do not lead to"):
        wire.verify_batch(batch, SIGNER.verifier(), chain.Frontier())


@given(st.binary(max_size=400))
def test_any_bytes_are_a_batch_error(packed: bytes) -> None:
    with pytest.raises(wire.BatchError):
        wire.decode_batch(packed)


@given(st.lists(st.binary(max_size=80), max_size=6), st.sampled_from([b"", b"\n"]))
def test_any_lines_in_a_frame_are_a_batch_error(lines: list[bytes], end: bytes) -> None:
    raw = b"\n".join(lines) + end
    with pytest.raises(wire.BatchError):
        wire.decode_batch(zstandard.compress(raw))


@given(st.data())
def test_a_damaged_batch_never_verifies(data: st.DataObject) -> None:
    packed = bytearray(wire.encode_batch(*built()))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    header, lines, note = built()
    try:
        batch = wire.decode_batch(bytes(packed))
        wire.verify_batch(batch, SIGNER.verifier(), chain.Frontier())
    except (wire.BatchError, chain.NoteError):
        return
    assert batch == wire.Batch(header, tuple(lines), note)  # the frame's own descriptor has spare bits


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(wire.BatchError, match="would unpack to more than"):
        wire.decode_batch(zstandard.compress(bytes(64 * 1024 * 1024)))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"{}\n{}\n{}\n")
    with pytest.raises(wire.BatchError, match="would unpack"):
        wire.decode_batch(unsized)


def test_too_many_records_are_refused() -> None:
    header, _, note = built()
    lines = [b"{}"] * (wire.MAX_RECORDS + 1)
    packed = wire.encode_batch(replace(header, last=len(lines)), lines, note)
    with pytest.raises(wire.BatchError, match="over the limit"):
        wire.decode_batch(packed)
