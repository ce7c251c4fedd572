from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from cloud_receiver import boxes
from cloud_receiver.database import enrolments, security_events, tokens
from sync import chain
from tests.support.log_builder import BoxKeys, LogBuilder
from tests.support.receiver_site import SITE, SiteUnderTest, code_of


def token_for(site: SiteUnderTest, box: str | None = None, at: str = SITE) -> str:
    return boxes.create_token(site.receiver, at, box, timedelta(hours=1)).token


async def test_a_box_gets_a_certificate_for_its_own_key_from_the_receivers_ca(site: SiteUnderTest) -> None:
    box = BoxKeys("line-1")
    answer = (await site.enrol(box)).json()
    certificate = x509.load_pem_x509_certificate(answer["certificate_pem"].encode())
    ca = x509.load_pem_x509_certificate(answer["ca_pem"].encode())
    certificate.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(ca)
    assert certificate.public_key() == box.box_key.public_key()
    assert certificate.not_valid_after_utc == site.clock.now + timedelta(days=365)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:alumiguard:box:line-1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


async def test_a_box_gets_the_key_that_receipts_are_checked_with(site: SiteUnderTest) -> None:
    answer = (await site.enrol(BoxKeys("line-1"))).json()
    key = chain.VerifierKey.parse(answer["receipt_key"])
    assert key.algorithm == chain.ALG_COSIGNATURE
    assert answer["box"] == "line-1"


async def test_only_the_hash_of_a_token_is_stored(site: SiteUnderTest) -> None:
    token = token_for(site)
    (row,) = site.rows(tokens)
    assert token not in str(row)
    assert len(row["secret_sha256"]) == 64


async def test_a_token_enrols_one_box_only(site: SiteUnderTest) -> None:
    token = token_for(site)
    assert (await site.enrol(BoxKeys("line-1"), token)).status_code == 201
    assert code_of(await site.enrol(BoxKeys("line-2"), token)) == (401, "unauthenticated")


async def test_a_box_that_lost_the_answer_gets_the_same_one_again(site: SiteUnderTest) -> None:
    token, box = token_for(site), BoxKeys("line-1")
    first, second = await site.enrol(box, token), await site.enrol(box, token)
    assert (second.status_code, second.json()) == (201, first.json())
    assert len(site.rows(enrolments)) == 1


async def test_a_token_is_worthless_after_its_time(site: SiteUnderTest) -> None:
    token = token_for(site)
    site.clock.turn(minutes=61)
    assert code_of(await site.enrol(BoxKeys("line-1"), token)) == (401, "unauthenticated")


async def test_an_invented_token_enrols_nobody(site: SiteUnderTest) -> None:
    assert code_of(await site.enrol(BoxKeys("line-1"), "age_invented")) == (401, "unauthenticated")


async def test_a_token_is_good_for_its_own_site_only(site: SiteUnderTest) -> None:
    token = token_for(site, at="plant-8")
    assert code_of(await site.enrol(BoxKeys("line-1"), token)) == (403, "not-your-site")


async def test_a_token_that_names_a_box_is_good_for_no_other(site: SiteUnderTest) -> None:
    token = token_for(site, box="line-1")
    assert code_of(await site.enrol(BoxKeys("line-2"), token)) == (403, "not-your-box")
    assert (await site.enrol(BoxKeys("line-1"), token)).status_code == 201


async def test_a_name_that_is_taken_needs_a_token_that_names_it(site: SiteUnderTest) -> None:
    old = await site.enrolled("line-1")
    assert code_of(await site.enrol(BoxKeys("line-1"))) == (409, "exists")
    new = BoxKeys("line-1")
    assert (await site.enrol(new, token_for(site, box="line-1"))).status_code == 201
    batch = LogBuilder(new, "second-epoch").batch()
    assert (await site.send(new, batch.packed)).status_code == 200
    assert code_of(await site.send(old, batch.packed)) == (401, "unauthenticated")


async def test_a_revoked_box_is_taken_back_by_a_token_that_names_it(site: SiteUnderTest) -> None:
    box = await site.enrolled("line-1")
    boxes.revoke(site.receiver, "line-1")
    batch = LogBuilder(box).batch()
    assert code_of(await site.send(box, batch.packed)) == (403, "revoked")
    assert (await site.enrol(box, token_for(site, box="line-1"))).status_code == 201
    assert (await site.send(box, batch.packed)).status_code == 200


async def test_a_token_used_before_a_revocation_does_not_undo_it(site: SiteUnderTest) -> None:
    token, box = token_for(site), BoxKeys("line-1")
    await site.enrol(box, token)
    boxes.revoke(site.receiver, "line-1")
    assert code_of(await site.enrol(box, token)) == (401, "unauthenticated")


def _csr_with_ec_key() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "line-1")])
    key = ec.generate_private_key(ec.SECP256R1())
    signing = x509.CertificateSigningRequestBuilder().subject_name(name)
    return signing.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _csr_with_a_flipped_bit() -> str:
    request = x509.load_pem_x509_csr(BoxKeys("line-1").csr_pem().encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


def _log_key(name: str, algorithm: int = chain.ALG_ED25519) -> str:
    return str(chain.SignerKey(name, BoxKeys("x").log_key).verifier(algorithm))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"csr_pem": "nothing"}, id="no CSR"),
        pytest.param({"csr_pem": BoxKeys("x").csr_pem("line-2")}, id="a CSR for another box"),
        pytest.param({"csr_pem": _csr_with_ec_key()}, id="a CSR for another kind of key"),
        pytest.param({"csr_pem": _csr_with_a_flipped_bit()}, id="a CSR that its key did not sign"),
        pytest.param({"log_key": "nothing"}, id="no log key"),
        pytest.param({"log_key": _log_key("alumiguard/line-2")}, id="the log key of another box"),
        pytest.param({"log_key": _log_key("alumiguard/line-1", chain.ALG_COSIGNATURE)}, id="a cosigning key"),
        pytest.param({"box": "../etc"}, id="a name like a path"),
        pytest.param({"box": "line-1\n"}, id="a name with a line end"),
        pytest.param({"site": ""}, id="no site"),
        pytest.param({"unknown": "x"}, id="an unknown field"),
    ],
)
async def test_an_introduction_that_does_not_fit_together_is_malformed_and_uses_no_token_up(
    site: SiteUnderTest, changes: dict[str, str]
) -> None:
    token, box = token_for(site), BoxKeys("line-1")
    assert code_of(await site.enrol(box, token, **changes)) == (400, "malformed")
    assert (await site.enrol(box, token)).status_code == 201


async def test_a_body_that_is_no_json_or_too_long_is_refused(site: SiteUnderTest) -> None:
    headers = {"Authorization": f"Bearer {token_for(site)}"}
    answer = await site.http.post("/v1/enrol", headers=headers, content=b"\xff")
    assert code_of(answer) == (400, "malformed")
    answer = await site.http.post("/v1/enrol", headers=headers, content=bytes(20_000))
    assert code_of(answer) == (413, "too-large")


async def test_enrolments_tokens_and_revocations_are_security_events(site: SiteUnderTest) -> None:
    await site.enrolled("line-1")
    boxes.revoke(site.receiver, "line-1")
    boxes.revoke(site.receiver, "line-1")
    reasons = [row["reason"] for row in site.rows(security_events)]
    assert reasons == ["key-created", "key-created", "token-created", "box-enrolled", "box-revoked"]


@pytest.mark.parametrize(("at", "box", "minutes"), [("", None, 60), ("s", "A B", 60), ("s", None, 0)])
def test_a_token_that_makes_no_sense_is_not_made(
    site: SiteUnderTest, at: str, box: str | None, minutes: int
) -> None:
    with pytest.raises(boxes.BoxError):
        boxes.create_token(site.receiver, at, box, timedelta(minutes=minutes))
