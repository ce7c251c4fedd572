import stat
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography import x509

from sync import identity
from tests.support.box_log import BOX, RECEIPT_KEY
from tests.support.receiver_peer import (
    TOKEN,
    ReceiverPeer,
    answering,
    problem,
    reply_lost,
    unreachable,
)


def test_keys_are_made_once_and_are_the_boxes_alone(tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    made, again = (identity.load_or_create(folder, BOX) for _ in range(2))
    assert str(made.log_verifier) == str(again.log_verifier)
    assert made.box_key.public_key() == again.box_key.public_key()
    assert made.box_key.public_key() != made.log_key.public_key()
    assert made.receiver is None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(found.stat().st_mode) for found in folder.iterdir()} == {0o600}


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    identity.load_or_create(tmp_path, BOX)
    (tmp_path / "log.key").chmod(0o640)
    with pytest.raises(identity.IdentityError, match="chmod 600"):
        identity.load_or_create(tmp_path, BOX)


@pytest.mark.parametrize("name", ["box.key", "receiver.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    identity.load_or_create(tmp_path, BOX)
    (tmp_path / name).write_bytes(b"\xff rubbish")
    (tmp_path / name).chmod(0o600)
    with pytest.raises(identity.IdentityError, match=name.replace(".", r"\.")):
        identity.load_or_create(tmp_path, BOX)


def test_a_token_is_short_lived_and_signed_by_the_box_key(tmp_path: Path) -> None:
    box = identity.load_or_create(tmp_path, BOX)
    tokens = [box.token(1_772_366_400.7) for _ in range(2)]
    claims = jwt.decode(
        tokens[0],
        box.box_key.public_key(),
        algorithms=["EdDSA"],
        audience=identity.AUDIENCE,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["iss"] == BOX
    assert claims["iat"] == 1_772_366_400
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert tokens[0] != tokens[1]


async def test_enrolment_keeps_certificate_and_receipt_key(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with peer.client() as client:
        enrolled = await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
    assert enrolled.receiver is not None
    assert enrolled.receiver.url == "http://receiver.example"
    assert str(enrolled.receiver.receipt_key) == str(RECEIPT_KEY)
    assert identity.load_or_create(tmp_path, BOX).receiver is not None
    certificate = x509.load_pem_x509_certificate(enrolled.certificate_path.read_bytes())
    assert certificate.public_key() == enrolled.box_key.public_key()
    assert stat.S_IMODE(enrolled.certificate_path.stat().st_mode) == 0o600
    assert str(peer.log_key) == str(enrolled.log_verifier)


async def test_a_box_enrols_once(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    async with peer.client() as client:
        await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
        with pytest.raises(identity.AlreadyEnrolled, match=r"receiver\.json away"):
            await identity.enrol(client, tmp_path, BOX, "plant-7", "another")


async def test_a_used_token_is_told_with_the_next_step(tmp_path: Path) -> None:
    peer = ReceiverPeer(tokens=set())
    async with peer.client() as client:
        with pytest.raises(identity.EnrolmentRefused, match="the token was used; ask for a new token"):
            await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
    assert identity.load_or_create(tmp_path, BOX).receiver is None


async def test_enrolment_after_trouble_goes_on_with_the_same_keys(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    peer.faults.extend(
        [unreachable, answering(problem(503, "busy", "later")), answering(httpx.Response(200))]
    )
    keys = set()
    async with peer.client() as client:
        for _ in range(3):
            with pytest.raises(identity.ReceiverUnreachable, match="enrol again"):
                await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
            keys.add(str(identity.load_or_create(tmp_path, BOX).log_verifier))
        enrolled = await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
    assert keys == {str(enrolled.log_verifier)}


async def test_a_lost_answer_leaves_the_box_not_enrolled(tmp_path: Path) -> None:
    peer = ReceiverPeer()
    peer.faults.append(reply_lost)
    async with peer.client() as client:
        with pytest.raises(identity.ReceiverUnreachable):
            await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
    assert identity.load_or_create(tmp_path, BOX).receiver is None


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"box": BOX, "certificate_pem": "x", "ca_pem": "x", "receipt_key": str(RECEIPT_KEY)},
        {"box": BOX, "certificate_pem": "x", "ca_pem": "x", "receipt_key": 7},
    ],
)
async def test_an_answer_that_is_no_enrolment_is_not_kept(tmp_path: Path, told: dict[str, object]) -> None:
    peer = ReceiverPeer()
    peer.faults.append(answering(httpx.Response(201, json=told)))
    async with peer.client() as client:
        with pytest.raises(identity.ReceiverUnreachable, match="no enrolment"):
            await identity.enrol(client, tmp_path, BOX, "plant-7", TOKEN)
    assert not (tmp_path / "receiver.json").exists()


async def test_a_certificate_for_another_key_is_not_kept(tmp_path: Path) -> None:
    peer = ReceiverPeer(tokens={TOKEN, "second"})
    async with peer.client() as client:
        other = await identity.enrol(client, tmp_path / "other", BOX, "plant-7", TOKEN)
        told = {
            "box": BOX,
            "certificate_pem": other.certificate_path.read_text(),
            "ca_pem": other.ca_path.read_text(),
            "receipt_key": str(RECEIPT_KEY),
        }
        peer.faults.append(answering(httpx.Response(201, json=told)))
        with pytest.raises(identity.ReceiverUnreachable, match="another box"):
            await identity.enrol(client, tmp_path / "box", BOX, "plant-7", "second")
    assert not (tmp_path / "box" / "receiver.json").exists()
