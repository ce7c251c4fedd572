from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud_receiver import records
from cloud_receiver.client import ReceiverClient, ReceiverRefused
from cloud_receiver.database import batches
from cloud_receiver.landing import LandingError
from sync.record import ClockQuality, GapDeclared, encode
from tests.support.log_builder import BoxKeys, LogBuilder, record_line
from tests.support.receiver_process import served, told
from tests.support.receiver_site import SITE, SiteUnderTest, code_of


async def pages(site: SiteUnderTest, limit: int, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page from the beginning, as long as there is more."""
    found, more = [], True
    while more:
        page = await site.read("/v1/records", limit=limit, **query)
        found.append(page["records"])
        query, more = query | {"after": page["next"]}, page["more"]
    return found


def seqs(stored: Sequence[dict[str, Any]]) -> list[int]:
    return [one["record"]["seq"] for one in stored]


def gap_line(seq: int) -> bytes:
    body = GapDeclared(what="frames", first="1", last="2", reason="disk full")
    return (
        record_line(seq)
        if seq % 3
        else encode(seq, "2026-03-01T10:00:00.000000Z", "b", 1, ClockQuality.NTP, body)
    )


async def test_a_record_comes_back_byte_for_byte_with_where_it_came_from(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    line = b'{ "seq":1,"at":"2026","boot":"b","mono_ns":1,"clock":"ntp","kind":"k","body":{"x":1.50}}'
    await site.send(box, LogBuilder(box).batch_of([line]).packed)
    answer = await site.http.get("/v1/records", headers=site.reader)
    assert b'"record":' + line in answer.content
    (stored,) = answer.json()["records"]
    assert stored["box"] == "line-1"
    assert stored["epoch"] == "first-epoch"
    assert stored["received_at"] == "2026-03-01T12:00:00.000000Z"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
async def test_pages_of_any_size_give_every_record_once_in_the_order_of_acceptance(
    site: SiteUnderTest, limit: int
) -> None:
    first, second = await site.enrolled("line-1"), await site.enrolled("line-2")
    logs = LogBuilder(first), LogBuilder(second)
    expected = []
    for turn in range(4):
        box, log = (first, second)[turn % 2], logs[turn % 2]
        batch = log.batch(turn + 1)
        await site.send(box, batch.packed)
        expected += [(box.box, seq) for seq in range(batch.header.first, batch.header.last + 1)]
    found = await pages(site, limit)
    assert [(one["box"], one["record"]["seq"]) for page in found for one in page] == expected
    assert all(len(page) == limit for page in found[:-1])


async def test_pages_stay_as_they_were_while_batches_arrive(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    await site.send(box, log.batch(5).packed)
    first = await site.read("/v1/records", limit=3)
    await site.send(box, log.batch(4).packed)
    again = await site.read("/v1/records", limit=3)
    assert (again["records"], again["next"]) == (first["records"], first["next"])
    rest = await pages(site, 3, after=first["next"])
    assert [seqs(page) for page in rest] == [[4, 5, 6], [7, 8, 9]]


async def test_the_cursor_of_the_last_page_goes_on_with_what_arrives_later(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    await site.send(box, log.batch(2).packed)
    end = await site.read("/v1/records")
    assert not end["more"]
    nothing = await site.read("/v1/records", after=end["next"])
    assert (nothing["records"], nothing["more"], nothing["next"]) == ([], False, end["next"])
    await site.send(box, log.batch(2).packed)
    assert seqs((await site.read("/v1/records", after=end["next"]))["records"]) == [3, 4]


async def test_filters_by_box_epoch_and_kind_can_be_combined(site: SiteUnderTest) -> None:
    for name in ("line-1", "line-2"):
        box = await site.enrolled(name)
        for epoch in ("a", "b"):
            lines = [gap_line(seq) for seq in range(1, 8)]
            await site.send(box, LogBuilder(box, epoch).batch_of(lines).packed)
    wanted = {"box": "line-2", "epoch": "b", "kind": "gap.declared"}
    (page,) = await pages(site, 100, **wanted)
    assert {(one["box"], one["epoch"], one["record"]["kind"]) for one in page} == {tuple(wanted.values())}
    assert seqs(page) == [3, 6]
    assert len((await pages(site, 100, kind="gap.declared"))[0]) == 8
    assert await pages(site, 100, kind="nothing.such") == [[]]
    assert await pages(site, 100, box="nobody") == [[]]


async def test_a_page_reads_no_more_batches_than_it_should_and_says_that_there_is_more(
    site: SiteUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_MAX_BATCHES_READ", 2)
    box = await site.enrolled()
    log = LogBuilder(box)
    for _ in range(5):
        await site.send(box, log.batch(1).packed)
    assert [seqs(page) for page in await pages(site, 100)] == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": "many"},
        {"after": "nonsense"},
        {"after": "é"},
        {"after": "_" * 22},
    ],
)
async def test_a_query_that_makes_no_sense_is_malformed(site: SiteUnderTest, query: dict[str, Any]) -> None:
    box = await site.enrolled()
    await site.send(box, LogBuilder(box).batch().packed)
    answer = await site.http.get("/v1/records", headers=site.reader, params=query)
    assert code_of(answer) == (400, "malformed")


async def test_a_landing_file_that_was_changed_is_never_passed_on(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    await site.send(box, LogBuilder(box).batch().packed)
    (row,) = site.rows(batches)
    folder = site.receiver.landing.folder
    assert folder is not None
    (folder / row["path"]).write_bytes(b"changed")
    assert code_of(await site.http.get("/v1/records", headers=site.reader)) == (503, "storage")
    (folder / row["path"]).unlink()
    with pytest.raises(LandingError, match="is gone"):
        site.receiver.landing.get(row["path"], row["sha256"])
    assert code_of(await site.http.get("/v1/records", headers=site.reader)) == (503, "storage")


def test_the_client_iterates_over_everything_and_keeps_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_receiver.client._PAGE_RECORDS", 4)
    data = ("--data", str(tmp_path))
    token = told("token", "create", "--site", SITE, *data)["token"]
    key = told("key", "create", "--role", "reader", "--name", "team", *data)["key"]
    box = BoxKeys("line-1")
    batch = LogBuilder(box).batch(10)
    with served(tmp_path) as server:
        httpx.post(
            f"{server.url}/v1/enrol",
            headers={"Authorization": f"Bearer {token}"},
            json=box.introduction(SITE),
        ).raise_for_status()
        server.post(box, batch.packed).raise_for_status()
        with ReceiverClient(server.url, key) as receiver:
            found = list(receiver.records(box="line-1"))
            assert [one.record.line for one in found] == list(batch.lines)
            assert {(one.box, one.epoch) for one in found} == {("line-1", "first-epoch")}
            (view,) = receiver.boxes()
            assert (view.box, view.records) == ("line-1", 10)
        with (
            ReceiverClient(server.url, "agk_guess") as stranger,
            pytest.raises(ReceiverRefused, match="key create"),
        ):
            stranger.boxes()
