"""The server is killed with SIGKILL at the worst moments; the box sends again; nothing is lost or doubled."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from cloud_receiver import boxes, keys
from cloud_receiver.auth import Role
from cloud_receiver.client import ReceiverClient
from cloud_receiver.receiver import Settings, open_receiver
from tests.support.log_builder import BoxKeys, BuiltBatch, LogBuilder
from tests.support.receiver_process import ServerProcess, served
from tests.support.receiver_site import SITE

pytestmark = pytest.mark.slow


def put_up(data: Path) -> tuple[BoxKeys, str, str]:
    """A box, a token for it, and a reader's key."""
    receiver = open_receiver(Settings(data))
    token = boxes.create_token(receiver, SITE, None, timedelta(hours=1)).token
    key = keys.create_key(receiver, "test", Role.READER)
    receiver.database.close()
    return BoxKeys("line-1"), token, key


def enrol(server: ServerProcess, box: BoxKeys, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    httpx.post(f"{server.url}/v1/enrol", headers=headers, json=box.introduction(SITE)).raise_for_status()


def assert_holds_exactly(server: ServerProcess, key: str, sent: list[BuiltBatch]) -> None:
    with ReceiverClient(server.url, key) as receiver:
        held = [one.record.line for one in receiver.records()]
    assert held == [line for batch in sent for line in batch.lines]


@pytest.mark.parametrize("moment", ["before-landing", "after-landing", "before-commit", "after-commit"])
def test_a_batch_whose_ingest_was_killed_is_held_once_when_it_is_sent_again(
    tmp_path: Path, moment: str
) -> None:
    box, token, key = put_up(tmp_path)
    log = LogBuilder(box)
    first, second = log.batch(), log.batch()
    with served(tmp_path, dies=moment) as dying:
        enrol(dying, box, token)
        with pytest.raises(httpx.TransportError):
            dying.post(box, first.packed)
        assert dying.process.wait(timeout=30) == -9
    landed = list((tmp_path / "landing").rglob("*.batch.zst"))
    assert len(landed) == (0 if moment == "before-landing" else 1)
    with served(tmp_path) as server:
        for batch in (first, second, first):
            assert server.post(box, batch.packed).status_code == 200
        assert_holds_exactly(server, key, [first, second])


def test_a_stream_of_batches_survives_two_kills_of_the_server(tmp_path: Path) -> None:
    box, token, key = put_up(tmp_path)
    log = LogBuilder(box)
    sent = [log.batch(20) for _ in range(12)]
    for first, last in ((0, 4), (3, 8), (7, 12)):  # the receipt before each kill is lost: it is sent again
        with served(tmp_path) as server:
            if first == 0:
                enrol(server, box, token)
            for batch in sent[first:last]:
                assert server.post(box, batch.packed).status_code == 200
            if last == len(sent):
                assert_holds_exactly(server, key, sent)
            server.kill()
