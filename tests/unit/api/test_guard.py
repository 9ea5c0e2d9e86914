"""Who is let in: web pages are not, and a store that can't be asked is no defect."""

from __future__ import annotations

import httpx
import pytest

from agent.errors import StoreUnusable
from api.security import Doorkeeper
from api.settings import ApiSettings
from tests.api_stage import client_for
from tests.chat_stage import tokens_for
from tests.unit.api.test_a1 import BODY, JSON, POLICIES, assert_is_problem

ROLLBACK = b'{"to_version": 0, "reason": "a web page"}'


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
async def test_a_body_that_does_not_say_it_is_json_is_refused(client, operations, kind):
    operations.turn()
    headers = {} if kind is None else {"Content-Type": kind}
    assert_is_problem(await client.post("/v1/rollback", content=ROLLBACK, headers=headers), 415)
    assert operations.gate.desired.version == 1


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_may_name_its_parameters(client, operations, kind):
    operations.turn()
    answer = await client.post("/v1/rollback", content=ROLLBACK, headers={"Content-Type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "evil.example"),
        ("Host", "evil.example:8000"),
        ("Host", "127.0.0.1.evil.example"),
        ("Host", "localhost.evil.example"),
        ("Host", "[::1"),
        ("Host", "10.0.0.1"),
        ("Host", ""),
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://localhost.evil.example"),
    ],
)
async def test_without_tokens_a_foreign_web_page_reads_and_changes_nothing(client, operations, name, value):
    operations.turn()
    for call in (
        client.post("/v1/rollback", content=ROLLBACK, headers={**JSON, name: value}),
        client.get("/v1/topology", headers={name: value}),
    ):
        document = assert_is_problem(await call, 403)
        assert repr(value) in document["detail"]
    assert operations.gate.desired.version == 1


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "127.1.2.3:80", "[::1]:8000", "LOCALHOST"])
async def test_without_tokens_this_machines_own_names_are_served(client, host):
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert (await client.get("/v1/topology", headers=headers)).status_code == 200


async def test_a_name_that_is_allowed_is_served_too(operations):
    async with client_for(operations, ApiSettings(local_hosts=frozenset({"edge.lan"}))) as client:
        headers = {"Host": "Edge.lan:8000", "Origin": "https://edge.lan"}
        assert (await client.get("/v1/topology", headers=headers)).status_code == 200


async def test_with_a_token_any_name_serves(stage):
    tokens = tokens_for(stage.operations, "viewer")
    headers = {"Authorization": f"Bearer {tokens['viewer']}", "Host": "edge.example", "Origin": "https://ui.example"}
    async with client_for(stage.operations) as client:
        assert (await client.get("/v1/topology", headers=headers)).status_code == 200


async def test_a_store_that_can_not_be_asked_for_a_token_is_a_503(client, stage):
    stage.store.close()
    document = assert_is_problem(await client.get("/v1/topology"), 503, "STORE_UNUSABLE")
    assert document["detail"].startswith("store: ")


async def test_strangers_are_limited_by_address_and_known_callers_are_not_held_up_by_them(stage):
    tokens = tokens_for(stage.operations, "viewer")
    async with client_for(stage.operations, ApiSettings(requests_per_s=1e-6, burst=3)) as client:
        answers = [await client.get("/v1/topology", headers={"Authorization": f"Bearer wrong-{n}"}) for n in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        known = {"Authorization": f"Bearer {tokens['viewer']}"}
        assert (await client.get("/v1/topology", headers=known)).status_code == 200
    async with client_for(stage.operations, ApiSettings(requests_per_s=1e-6, burst=1)) as client:
        assert (await client.get("/v1/topology")).status_code == 401
        assert (await client.get("/v1/topology")).status_code == 429


async def test_a_stranger_who_floods_does_not_cost_a_known_policy_its_place(stage):
    async with client_for(stage.operations) as client:
        await client.put(f"{POLICIES}/p1", json=BODY)
    async with client_for(stage.operations, ApiSettings(tokens_are_needed=True, burst=1)) as client:
        await client.get(POLICIES)
        assert_is_problem(await client.put(f"{POLICIES}/p1", json=BODY), 503)


def test_no_token_is_kept_whole(stage):
    doorkeeper = Doorkeeper(stage.store, tokens_are_needed=True)
    for number in range(3):
        assert doorkeeper.owner(f"Bearer {number}" + "x" * 60_000) is None
    assert max(len(key) for key in doorkeeper._cache) <= 64


def test_a_store_that_is_away_tells_the_doorkeeper(stage):
    stage.store.close()
    with pytest.raises(StoreUnusable):
        Doorkeeper(stage.store, tokens_are_needed=False).owner("")


async def test_health_is_open_to_probes_under_any_name(client):
    answer: httpx.Response = await client.get("/healthz", headers={"Host": "pod-7.cluster"})
    assert answer.status_code == 200
