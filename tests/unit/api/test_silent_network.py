"""While no edge speaks nothing is planned, sent out or told as if it were of now."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agent.store.approvals import list_approvals
from api.errors import NetworkSilent
from api.metrics import Metrics
from tests.api_stage import Stage, build_stage, client_for
from tests.chat_stage import SUGGESTING
from tests.unit.api.test_a1 import assert_is_problem

DETAIL = "the latest digests are 40 s old: no cell has sent a digest for 30 s"


class Mouth:
    """Edges that speak until they are told not to."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._pipeline = stage.operations._loop.pipeline
        stage.operations._loop.pipeline = SimpleNamespace(digest=self._digest)
        self.is_shut = False

    def shut(self) -> None:
        """Nobody has spoken for 40 s."""
        self.is_shut = True
        self._stage.clock.now_s += 40.0
        with pytest.raises(NetworkSilent):
            self._stage.operations.turn()

    def open(self) -> None:
        self.is_shut = False
        self._stage.operations.turn()

    def _digest(self, *given):
        if self.is_shut:
            raise NetworkSilent("no cell has sent a digest for 30 s")
        return self._pipeline.digest(*given)


@pytest.fixture
def stage(clock, tmp_path):
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock, SUGGESTING)
    built.operations.metrics = Metrics(clock)
    yield built
    built.store.close()


@pytest.fixture
def mouth(stage) -> Mouth:
    made = Mouth(stage)
    stage.operations.turn()
    return made


@pytest.fixture
async def client(stage, mouth):
    async with client_for(stage.operations) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/plans", {}),
        ("/v1/plans", {"submit": True}),
        ("/v1/plans", {"goals": []}),
        ("/v1/chat", {"request": "/status"}),
    ],
)
async def test_plans_and_chat_are_refused_with_the_age_of_what_is_known(client, stage, mouth, path, body):
    mouth.shut()
    told = assert_is_problem(await client.post(path, json=body), 503, "NETWORK_SILENT")
    assert told["detail"] == DETAIL
    mouth.open()
    if path == "/v1/plans":
        assert (await client.post(path, json=body)).is_success
        assert stage.network.applied == []


async def test_what_was_planned_before_goes_out_on_nobodys_word(client, stage, mouth):
    (waiting,) = (await client.get("/v1/approvals")).json()
    kept = (await client.post("/v1/plans", json={"keep": True})).json()
    mouth.shut()
    path = f"/v1/policies/{kept['policy']['version']}/submission"
    for hold in (False, True):
        answer = await client.post(path, json={"policy_hash": kept["policy_hash"], "hold": hold})
        assert assert_is_problem(answer, 503, "NETWORK_SILENT")["detail"] == DETAIL
    word = {"policy_version": waiting["policy_version"], "policy_hash": waiting["policy_hash"], "reason": "fine"}
    told = assert_is_problem(await client.post("/v1/approvals", json=word), 503, "NETWORK_SILENT")
    assert told["detail"].startswith(f"{DETAIL}; the approval was withdrawn")
    now_us = int(stage.clock.now_s * 1e6)
    assert all(approval.expires_us <= now_us for approval in stage.store.read(list_approvals))
    assert stage.network.applied == []


async def test_a_rollback_still_goes_out(client, stage, mouth):
    (waiting,) = (await client.get("/v1/approvals")).json()
    word = {"policy_version": waiting["policy_version"], "policy_hash": waiting["policy_hash"], "reason": "fine"}
    assert (await client.post("/v1/approvals", json=word)).status_code == 201
    mouth.shut()
    answer = await client.post("/v1/rollback", json={"to_version": 0, "reason": "nobody answers"})
    assert answer.json()["status"] == "enforced"


async def test_the_last_figures_stay_and_say_that_they_are_old(client, mouth):
    async def ages() -> set[str]:
        paths = ("/v1/kpis", "/v1/digests", "/v1/digests/1")
        return {(await client.get(path)).headers["digest-age"] for path in paths}

    before = (await client.get("/v1/kpis")).json()
    assert {row["is_stale"] for row in before} == {False}
    assert await ages() == {"0"}
    mouth.shut()
    after = (await client.get("/v1/kpis")).json()
    assert {row["is_stale"] for row in after} == {True}
    assert [row["end_s"] for row in after] == [row["end_s"] for row in before]
    assert await ages() == {"40"}
    mouth.open()
    assert {row["is_stale"] for row in (await client.get("/v1/kpis")).json()} == {False}
    assert await ages() == {"0"}


async def test_figures_of_a_loop_that_stands_still_are_old_too(client, clock, mouth):
    clock.now_s += 51.0
    assert {row["is_stale"] for row in (await client.get("/v1/kpis")).json()} == {True}
