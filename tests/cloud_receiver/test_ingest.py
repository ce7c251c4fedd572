from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import httpx
import pytest
import zstandard

from cloud_receiver import boxes
from cloud_receiver.database import batches, marks, security_events, set_aside
from cloud_receiver.ingest import MAX_PACKED_BYTES
from sync import chain, wire
from tests.support.log_builder import BoxKeys, BuiltBatch, LogBuilder, record_line
from tests.support.receiver_site import SiteUnderTest, code_of


def quarantined(site: SiteUnderTest) -> list[str]:
    folder = site.receiver.quarantine.folder
    assert folder is not None
    return [path.name for path in folder.rglob("*.zst")]


def mark_of(answer: httpx.Response) -> dict[str, object]:
    mark: dict[str, object] = answer.json()["mark"]
    return mark


# --- accepted ---------------------------------------------------------------------------------------------


async def test_a_batch_is_answered_with_its_own_checkpoint_cosigned_now(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    answer = await site.send(box, batch.packed)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == wire.RECEIPT_MEDIA_TYPE
    key = site.receiver.identity.receipt_key.verifier(chain.ALG_COSIGNATURE)
    body, time_s = chain.open_cosignature(answer.content, key)
    assert body == chain.note_body(batch.note)
    assert time_s == site.clock.seconds()


async def test_the_landed_file_is_the_batch_verbatim_under_a_name_that_tells_what_it_is(
    site: SiteUnderTest,
) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    await site.send(box, batch.packed)
    (row,) = site.rows(batches)
    assert row["path"] == f"2026-03-01/line-1/first-epoch/1-3-{row['sha256']}.batch.zst"
    assert site.receiver.landing.get(row["path"], row["sha256"]) == batch.packed


async def test_consecutive_batches_move_the_mark_to_the_head_of_the_last(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    for count in (1, 4, 2):
        assert (await site.send(box, log.batch(count).packed)).status_code == 200
    (mark,) = site.rows(marks)
    assert (mark["seq"], mark["head"]) == (7, log.head)
    assert chain.Frontier.from_bytes(mark["frontier"]) == log.frontier


async def test_a_batch_sent_again_gets_the_old_receipt_byte_for_byte(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    first, second = log.batch(), log.batch()
    receipt = (await site.send(box, first.packed)).content
    await site.send(box, second.packed)
    site.clock.turn(days=3)
    again = await site.send(box, first.packed)
    assert (again.status_code, again.content) == (200, receipt)
    assert [mark["seq"] for mark in site.rows(marks)] == [6]
    assert len(site.rows(batches)) == 2


async def test_the_same_stretch_packed_otherwise_gets_the_old_receipt_too(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    receipt = (await site.send(box, batch.packed)).content
    raw = zstandard.ZstdDecompressor().decompress(batch.packed)
    repacked = zstandard.ZstdCompressor(level=1, write_content_size=True, write_checksum=True).compress(raw)
    assert repacked != batch.packed
    again = await site.send(box, repacked)
    assert (again.status_code, again.content) == (200, receipt)


async def test_each_epoch_of_a_box_has_a_mark_of_its_own(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    for epoch in ("epoch-a", "epoch-b"):
        assert (await site.send(box, LogBuilder(box, epoch).batch(2).packed)).status_code == 200
    assert {mark["epoch"]: mark["seq"] for mark in site.rows(marks)} == {"epoch-a": 2, "epoch-b": 2}


async def test_lines_that_are_no_records_are_set_aside_and_their_batch_is_accepted(
    site: SiteUnderTest,
) -> None:
    box = await site.enrolled()
    lines = [record_line(1), b"{not json", b'\xff\xfe"', record_line(99), b"{}", record_line(6)]
    answer = await site.send(box, LogBuilder(box).batch_of(lines).packed)
    assert answer.status_code == 200
    assert {row["seq"]: row["reason"][:12] for row in site.rows(set_aside)} == {
        2: "not a record",
        3: "not a record",
        4: "it says seq ",
        5: "not a record",
    }
    page = await site.read("/v1/records")
    assert [stored["record"]["seq"] for stored in page["records"]] == [1, 6]
    (view,) = (await site.read("/v1/boxes"))["boxes"]
    assert (view["records"], view["set_aside"]) == (6, 4)


async def test_a_kind_that_nobody_knows_is_kept_and_passed_on(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    line = record_line(1).replace(b'"lot.started"', b'"from.the.future"')
    await site.send(box, LogBuilder(box).batch_of([line]).packed)
    page = await site.read("/v1/records", kind="from.the.future")
    assert [stored["record"]["kind"] for stored in page["records"]] == ["from.the.future"]


# --- conflicts --------------------------------------------------------------------------------------------


async def test_a_batch_that_leaves_records_out_is_a_gap_and_the_answer_tells_the_mark(
    site: SiteUnderTest,
) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    await site.send(box, log.batch().packed)
    head = log.head
    log.batch()
    answer = await site.send(box, log.batch().packed)
    assert code_of(answer) == (409, "gap")
    assert mark_of(answer) == {"epoch": "first-epoch", "seq": 3, "head": head.hex()}


async def test_a_gap_before_the_first_batch_names_the_start_of_the_chain(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    log.batch()
    answer = await site.send(box, log.batch().packed)
    assert code_of(answer) == (409, "gap")
    start = chain.chain_start(box.box, "first-epoch")
    assert mark_of(answer) == {"epoch": "first-epoch", "seq": 0, "head": start.hex()}


@pytest.fixture
async def cloned(site: SiteUnderTest) -> tuple[BoxKeys, LogBuilder, LogBuilder]:
    """A box, its log with 3 records held and 3 more sent, and a clone that has only the first 3."""
    box = await site.enrolled()
    log = LogBuilder(box)
    await site.send(box, log.batch().packed)
    clone = log.copy()
    await site.send(box, log.batch().packed)
    return box, log, clone


@pytest.mark.parametrize("count", [1, 2, 3, 5])
async def test_another_history_of_held_records_is_a_fork_whatever_its_length(
    site: SiteUnderTest, cloned: tuple[BoxKeys, LogBuilder, LogBuilder], count: int
) -> None:
    box, log, clone = cloned
    answer = await site.send(box, clone.batch(count, lot="other").packed)
    assert code_of(answer) == (409, "fork")
    assert mark_of(answer) == {"epoch": "first-epoch", "seq": 6, "head": log.head.hex()}
    assert len(quarantined(site)) == 1
    assert len(site.rows(batches)) == 2


async def test_a_clone_that_went_on_further_is_a_fork_at_its_first_upload(
    site: SiteUnderTest, cloned: tuple[BoxKeys, LogBuilder, LogBuilder]
) -> None:
    box, _, clone = cloned
    clone.batch(3, lot="other")  # its own records 4 to 6, which it believes are held
    answer = await site.send(box, clone.batch(2, lot="other").packed)
    assert code_of(answer) == (409, "fork")


async def test_a_fork_is_a_security_event_that_says_where_the_bytes_are(
    site: SiteUnderTest, cloned: tuple[BoxKeys, LogBuilder, LogBuilder]
) -> None:
    box, _, clone = cloned
    other = clone.batch(3, lot="other").packed
    await site.send(box, other)
    (event,) = (row for row in site.rows(security_events) if row["reason"] == "fork")
    assert event["who"] == "box line-1"
    (name,) = quarantined(site)
    assert name in event["detail"]
    folder = site.receiver.quarantine.folder
    assert folder is not None
    assert next(folder.rglob(name)).read_bytes() == other


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_the_same_history_cut_otherwise_is_an_overlap(
    site: SiteUnderTest, cloned: tuple[BoxKeys, LogBuilder, LogBuilder], count: int
) -> None:
    box, log, clone = cloned
    answer = await site.send(box, clone.batch(count).packed)
    assert code_of(answer) == (409, "overlap")
    assert mark_of(answer) == {"epoch": "first-epoch", "seq": 6, "head": log.head.hex()}
    assert quarantined(site) == []


# --- refused ----------------------------------------------------------------------------------------------


def _unsigned(batch: BuiltBatch, box: BoxKeys) -> BuiltBatch:
    stranger = chain.SignerKey(chain.checkpoint_origin(box.box, "first-epoch"), BoxKeys("x").log_key)
    return replace(batch, note=chain.sign_note(chain.note_body(batch.note), stranger))


def _changed_line(batch: BuiltBatch, _box: BoxKeys) -> BuiltBatch:
    return replace(batch, lines=(batch.lines[0].replace(b"coil", b"foil"), *batch.lines[1:]))


def _other_previous(batch: BuiltBatch, _box: BoxKeys) -> BuiltBatch:
    return replace(batch, header=replace(batch.header, previous="00" * 32))


def _note_of_other_size(batch: BuiltBatch, box: BoxKeys) -> BuiltBatch:
    other = LogBuilder(box)
    other.batch(2)
    return replace(batch, note=other.sign())


@pytest.mark.parametrize("spoil", [_unsigned, _changed_line, _other_previous, _note_of_other_size])
async def test_a_batch_that_its_checkpoint_does_not_prove_is_unverified(
    site: SiteUnderTest, spoil: Callable[[BuiltBatch, BoxKeys], BuiltBatch]
) -> None:
    box = await site.enrolled()
    batch = spoil(LogBuilder(box).batch(), box)
    assert code_of(await site.send(box, batch.packed)) == (422, "unverified")
    assert site.rows(marks) == site.rows(batches) == []


async def test_a_chain_that_starts_elsewhere_is_unverified_even_if_signed(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box, head=chain.chain_start(box.box, "another-epoch"))
    assert code_of(await site.send(box, log.batch().packed)) == (422, "unverified")


async def test_what_nobody_signed_is_neither_gap_nor_fork(
    site: SiteUnderTest, cloned: tuple[BoxKeys, LogBuilder, LogBuilder]
) -> None:
    box, log, clone = cloned
    log.batch()
    for batch in (clone.batch(3, lot="other"), log.batch()):
        assert code_of(await site.send(box, _unsigned(batch, box).packed)) == (422, "unverified")
    assert quarantined(site) == []


async def test_a_box_cannot_send_the_batch_of_another(site: SiteUnderTest) -> None:
    sender, other = await site.enrolled("line-1"), await site.enrolled("line-2")
    answer = await site.send(sender, LogBuilder(other).batch().packed)
    assert code_of(answer) == (403, "not-your-box")


async def test_a_box_that_never_enrolled_is_unauthenticated(site: SiteUnderTest) -> None:
    stranger = BoxKeys("line-9")
    answer = await site.send(stranger, LogBuilder(stranger).batch().packed)
    assert code_of(answer) == (401, "unauthenticated")


async def test_a_revoked_box_is_refused_and_what_it_sent_stays(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    await site.send(box, log.batch().packed)
    boxes.revoke(site.receiver, box.box)
    assert code_of(await site.send(box, log.batch().packed)) == (403, "revoked")
    (view,) = (await site.read("/v1/boxes"))["boxes"]
    assert (view["records"], view["revoked_at"]) == (3, "2026-03-01T12:00:00.000000Z")


def _bomb() -> bytes:
    return zstandard.ZstdCompressor(write_content_size=True).compress(bytes(300 * 1024 * 1024))


def _sizeless() -> bytes:
    packing = zstandard.ZstdCompressor().compressobj()
    return packing.compress(b"{}\n" * 1000) + packing.flush()


def _good() -> bytes:
    return LogBuilder(BoxKeys("line-1")).batch().packed


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_bomb, id="a bomb"),
        pytest.param(_sizeless, id="a frame that does not say its size"),
        pytest.param(lambda: _good()[:-20], id="truncated"),
        pytest.param(lambda: _good() + b"more", id="something after the frame"),
        pytest.param(lambda: b"{}", id="not zstd"),
        pytest.param(lambda: b"", id="nothing"),
        pytest.param(
            lambda: LogBuilder(BoxKeys("line-1"), "../up").batch().packed, id="an epoch like a path"
        ),
        pytest.param(lambda: LogBuilder(BoxKeys("line-1")).batch().changed(previous="AB" * 32), id="not hex"),
    ],
)
async def test_bytes_that_are_no_batch_are_malformed(site: SiteUnderTest, make: Callable[[], bytes]) -> None:
    box = await site.enrolled()
    assert code_of(await site.send(box, make())) == (400, "malformed")


async def test_a_body_over_the_limit_is_too_large_and_is_not_read_to_its_end(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1 << 20
            yield bytes(1 << 20)

    answer = await site.http.post("/v1/batches", headers=box.bearer(site.clock.seconds()), content=endless())
    assert code_of(answer) == (413, "too-large")
    assert given < 5 * MAX_PACKED_BYTES


async def test_every_refusal_is_a_security_event_with_who_and_when(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    await site.send(box, b"no batch")
    await site.http.get("/v1/boxes")
    events = {row["reason"]: row for row in site.rows(security_events)}
    assert events["malformed"]["who"] == "box line-1"
    assert events["malformed"]["at"] == "2026-03-01T12:00:00.000000Z"
    assert events["unauthenticated"]["who"] == "unknown"


async def test_refusals_of_the_same_caller_within_a_minute_are_counted_in_one_row(
    site: SiteUnderTest,
) -> None:
    box = await site.enrolled()
    for _ in range(5):
        await site.send(box, b"no batch")
    site.clock.turn(minutes=2)
    await site.send(box, b"no batch")
    times = [row["times"] for row in site.rows(security_events) if row["reason"] == "malformed"]
    assert times == [5, 1]


async def test_a_landed_file_that_a_dead_run_left_is_adopted(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    await site.send(box, batch.packed)
    (row,) = site.rows(batches)
    site.receiver.landing.put(row["path"], batch.packed)
    folder = site.receiver.landing.folder
    assert folder is not None
    (folder / row["path"]).write_bytes(b"torn by a power cut")
    site.receiver.landing.put(row["path"], batch.packed)
    assert site.receiver.landing.get(row["path"], row["sha256"]) == batch.packed
