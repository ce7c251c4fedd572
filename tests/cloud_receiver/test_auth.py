import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from fastapi.routing import iter_route_contexts

from cloud_receiver import keys
from cloud_receiver.app import create_app
from cloud_receiver.auth import Role, SeenTokens
from cloud_receiver.database import api_keys, security_events
from tests.support.log_builder import BoxKeys, LogBuilder
from tests.support.receiver_site import SiteUnderTest, code_of

UNAUTHENTICATED = (401, "unauthenticated")


def routes_of(site: SiteUnderTest) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(create_app(site.receiver).routes):
        assert route.path is not None
        assert route.methods
        for method in route.methods:
            yield method, route.path


# --- the wall ---------------------------------------------------------------------------------------------


async def test_no_route_but_healthz_answers_without_a_credential(site: SiteUnderTest) -> None:
    open_routes = []
    routes = set(routes_of(site))
    for method, path in routes:
        answer = await site.http.request(method, path)
        if answer.status_code != 401:
            open_routes.append(path)
        else:
            assert code_of(answer) == UNAUTHENTICATED
            assert answer.headers["www-authenticate"] == "Bearer"
    assert open_routes == ["/healthz"]
    assert len(routes) == 8


@pytest.mark.parametrize(
    "sent", ["Bearer guess", "Bearer ", "Basic dTpw", "Bearer a.b.c", f"Bearer {'x' * 5000}"]
)
async def test_no_route_but_healthz_answers_to_a_guess(site: SiteUnderTest, sent: str) -> None:
    for method, path in routes_of(site):
        answer = await site.http.request(method, path, headers={"Authorization": sent})
        assert answer.status_code == (200 if path == "/healthz" else 401)


async def test_the_credential_of_one_side_opens_nothing_on_the_other(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch().packed
    answer = await site.http.post("/v1/batches", headers=site.admin, content=batch)
    assert code_of(answer) == UNAUTHENTICATED
    answer = await site.http.get("/v1/records", headers=box.bearer(site.clock.seconds()))
    assert code_of(answer) == UNAUTHENTICATED


# --- API keys ---------------------------------------------------------------------------------------------


async def test_a_reader_reads_everything_but_security_events(site: SiteUnderTest) -> None:
    for path in ("/v1/boxes", "/v1/records", "/metrics", "/openapi.json"):
        assert (await site.http.get(path, headers=site.reader)).status_code == 200
    answer = await site.http.get("/v1/security-events", headers=site.reader)
    assert code_of(answer) == (403, "forbidden")


async def test_an_admin_reads_what_was_refused_page_by_page(site: SiteUnderTest) -> None:
    await site.http.get("/v1/security-events", headers=site.reader)
    seen: list[dict[str, Any]] = []
    after = 0
    while True:
        answer = await site.http.get(
            "/v1/security-events", headers=site.admin, params={"after": after, "limit": 1}
        )
        page = answer.json()
        if not page["events"]:
            break
        seen += page["events"]
        after = page["next"]
    assert [event["reason"] for event in seen] == ["key-created", "key-created", "forbidden"]
    assert seen[-1]["who"] == "key reader"


async def test_only_the_hash_of_a_key_is_stored(site: SiteUnderTest) -> None:
    key = keys.create_key(site.receiver, "third", Role.READER)
    assert key not in str(site.rows(api_keys))


async def test_a_revoked_key_opens_nothing(site: SiteUnderTest) -> None:
    keys.revoke_key(site.receiver, "reader")
    assert code_of(await site.http.get("/v1/boxes", headers=site.reader)) == UNAUTHENTICATED


def test_a_keys_name_is_never_given_twice(site: SiteUnderTest) -> None:
    keys.revoke_key(site.receiver, "reader")
    with pytest.raises(keys.ApiKeyError, match="another --name"):
        keys.create_key(site.receiver, "reader", Role.READER)


# --- tokens of boxes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": None}, id="without an end"),
        pytest.param({"iat": None}, id="without a beginning"),
        pytest.param({"jti": None}, id="without an id"),
        pytest.param({"iss": None}, id="without an issuer"),
        pytest.param({"aud": "somebody-else"}, id="for somebody else"),
        pytest.param({"lifetime_seconds": 301}, id="for too long"),
        pytest.param({"lifetime_seconds": 0}, id="for no time"),
        pytest.param({"iat": 1e400}, id="from infinity"),
        pytest.param({"iat": 1.5}, id="from half a second"),
        pytest.param({"iat": -5, "exp": 5}, id="from before 1970"),
        pytest.param({"jti": "x" * 200}, id="with a long id"),
        pytest.param({"jti": 7}, id="with a number as its id"),
        pytest.param({"iss": "nobody-here"}, id="by a stranger"),
        pytest.param({"iss": "\ud800"}, id="by no name at all"),
        pytest.param({"iss": ["line-1"]}, id="by a list"),
    ],
)
async def test_a_token_with_wrong_claims_is_unauthenticated(
    site: SiteUnderTest, claims: dict[str, Any]
) -> None:
    box = await site.enrolled()
    answer = await site.send(box, LogBuilder(box).batch().packed, **claims)
    assert code_of(answer) == UNAUTHENTICATED


async def test_a_token_signed_by_another_key_is_unauthenticated(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    thief = replace(box, box_key=BoxKeys("x").box_key)
    assert code_of(await site.send(thief, LogBuilder(box).batch().packed)) == UNAUTHENTICATED


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
async def test_a_token_that_chooses_its_own_algorithm_is_unauthenticated(
    site: SiteUnderTest, algorithm: str
) -> None:
    box = await site.enrolled()
    claims = jwt.decode(box.token(site.clock.seconds()), options={"verify_signature": False})
    if algorithm == "none":
        parts = [json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), b""]
        token = ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    else:
        token = jwt.encode(claims, box.box_key.public_key().public_bytes_raw(), algorithm=algorithm)
    answer = await site.http.post("/v1/batches", headers={"Authorization": f"Bearer {token}"})
    assert code_of(answer) == UNAUTHENTICATED


async def test_a_token_is_good_for_one_request(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    headers = box.bearer(site.clock.seconds())
    first = await site.http.post("/v1/batches", headers=headers, content=log.batch().packed)
    assert first.status_code == 200
    second = await site.http.post("/v1/batches", headers=headers, content=log.batch().packed)
    assert code_of(second) == UNAUTHENTICATED


@pytest.mark.parametrize("year", [1970, 2000, 2025, 2027, 2106])
async def test_a_box_with_a_wrong_clock_is_served_for_what_its_batches_prove(
    site: SiteUnderTest, year: int
) -> None:
    box = await site.enrolled()
    log = LogBuilder(box)
    wrong = int(datetime(year, 1, 2, tzinfo=UTC).timestamp())
    batch = log.batch()
    for _ in range(2):
        assert (await site.send(box, batch.packed, issued_at=wrong)).status_code == 200
    log.batch()
    gap = await site.send(box, log.batch().packed, issued_at=wrong)
    assert code_of(gap) == (409, "gap")
    fork = await site.send(box, LogBuilder(box).batch(lot="other").packed, issued_at=wrong)
    assert code_of(fork) == (409, "fork")


async def test_an_old_token_learns_nothing_with_a_batch_that_proves_nothing(site: SiteUnderTest) -> None:
    box = await site.enrolled()
    batch = LogBuilder(box).batch()
    unproved = replace(batch, lines=(b"{}", *batch.lines[1:])).packed
    old = site.clock.seconds() - 3600
    for body in (unproved, b"no batch"):
        assert code_of(await site.send(box, body, issued_at=old)) == UNAUTHENTICATED


def test_what_is_remembered_of_tokens_is_forgotten_once_they_are_old() -> None:
    seen = SeenTokens()
    for second in range(2000):
        assert seen.first_time("line-1", f"token-{second}", second)
    assert len(seen._until) <= 601
    assert not seen.first_time("line-1", "token-1999", 2000)


async def test_a_denied_caller_is_told_apart_by_its_address_not_by_what_it_claims(
    site: SiteUnderTest,
) -> None:
    claimed = jwt.encode({"iss": "line-1"}, BoxKeys("line-1").box_key, algorithm="EdDSA")
    await site.http.post("/v1/batches", headers={"Authorization": f"Bearer {claimed}"})
    (event,) = (row for row in site.rows(security_events) if row["reason"] == "unauthenticated")
    assert (event["who"], event["peer"]) == ("unknown", "127.0.0.1")
    assert "'line-1'" in event["detail"]
