"""A model of one's own on a copy of a running server's network: the same tools, nothing changed, trouble said."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from langchain_core.messages import AIMessage

from agent.chat.opening import open_session
from agent.chat.room_options import RoomOptions
from agent.chat.server_link import ServerLink, ServerRefused, ServerUnreachable
from agent.chat.server_mirror import attach
from agent.chat.session import ChatSession
from agent.chat.slash import run_slash
from agent.dispatch.desired import DesiredState
from agent.errors import AgentError, AgentInputInvalid, PolicyRejected
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.goal import Expectation, Goal, TargetMetric
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.store.audit_trail import read_trail
from agent.store.goals import OPERATOR_TYPE, StoredGoal, put_goal
from agent.store.policies import PolicyStatus, list_policies
from agent.store.store import Store
from api.app import create_app
from api.operations import Operations
from tests.api_stage import TOPOLOGY, Stage
from tests.server_stage import RunningServer
from tests.unit.api.test_a1 import BODY, POLICIES
from tests.unit.api.test_operator import GOAL


@pytest.fixture
def server(operations: Operations) -> Iterator[tuple[RunningServer, str]]:
    operations.turn()
    running = RunningServer(create_app(operations))
    yield running, running.start()
    running.stop()


def attached(url: str, store: Store) -> ChatSession:
    room = attach(ServerLink(url), store)
    call = {"name": "network_status", "args": {}, "id": "call", "type": "tool_call"}
    model = ScriptedChatModel(script=[AIMessage(content="", tool_calls=[call]), AIMessage(content="done")])
    return ChatSession(room, model)


def statuses(store: Store) -> dict[int, PolicyStatus]:
    return {kept.policy.version: kept.status for kept in store.read(list_policies)}


def test_the_mirror_holds_what_the_server_runs(operations: Operations, server: tuple[RunningServer, str]) -> None:
    with Store.open("sqlite://") as store:
        session = attached(server[1], store)
        room = session.room
        assert room.topology == TOPOLOGY
        assert room.latest.digests == operations.digests
        assert room.gate.desired.actions == operations.gate.desired.actions
        assert room.gate.desired.version == operations.gate.desired.version == 1
        goal = Goal(id="g1", expectations=(Expectation(metric=TargetMetric.DELAY_MS, value=20.0),))
        kept = StoredGoal(policy_type=OPERATOR_TYPE, id="g1", document=goal.model_dump_json(), goal=goal)
        operations.store.write(lambda transaction: put_goal(transaction, kept, actor="test"))
        operations.turn()
        answer = session.ask("status")
        assert [made["tool"] for made in answer.calls] == ["network_status"]
        assert room.gate.desired.version == operations.gate.desired.version
        assert run_slash(session, "/plan").exit_status == 0


@pytest.mark.parametrize("num_waiting", [9, 60])
def test_proposals_that_wait_do_not_hide_what_is_in_force(
    operations: Operations, server: tuple[RunningServer, str], num_waiting: int
) -> None:
    operations.gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="test")
    for _ in range(num_waiting):
        operations.keep(operations.propose()[0], actor="test")
    assert operations.gate.desired.actions != DesiredState.initial(TOPOLOGY).actions
    with Store.open("sqlite://") as store:
        room = attached(server[1], store).room
        assert room.gate.desired.actions == operations.gate.desired.actions
        assert (room.gate.desired.version, operations.gate.desired.version) == (1, 1)
        assert room.gate.policy_in_force == operations.gate.policy_in_force


def test_a_policy_that_waits_for_a_person_is_found_behind_others(
    operations: Operations, server: tuple[RunningServer, str]
) -> None:
    operations.gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="test")
    waiting, _ = operations.propose()
    operations.hold(waiting, actor="test")
    for _ in range(60):
        operations.keep(operations.propose()[0], actor="test")
    with Store.open("sqlite://") as store:
        assert attached(server[1], store).room.find(None) == waiting


def test_the_mirror_keeps_the_statuses_that_the_server_tells(stage: Stage, server: tuple[RunningServer, str]) -> None:
    stage.network.down = {2}
    stage.operations.turn()
    with Store.open("sqlite://") as store:
        room = attached(server[1], store).room
        assert statuses(stage.store)[2] is PolicyStatus.NOT_ENFORCED
        assert statuses(store) == statuses(stage.store)
        stage.network.down = set()
        stage.operations.turn()
        room.refresh()
        assert statuses(store) == statuses(stage.store)
        assert store.read(lambda c: {entry.actor for entry in read_trail(c)}) == {"mirror"}


def test_a_mirrored_plan_is_the_servers_own_with_the_word_of_the_servers_gate(
    operations: Operations, server: tuple[RunningServer, str]
) -> None:
    operations.gate.set_stops(Stops(mode=Mode.AUTONOMOUS, is_killed=True), actor="test")
    with Store.open("sqlite://") as store:
        session = attached(server[1], store)
        found = run_slash(session, "/plan")
        asked = httpx.post(f"{server[1]}/v1/plans", json={}).json()
        gate = found.data["gate"]
        assert isinstance(gate, dict)
        assert found.data["hash"] == asked["policy_hash"]
        assert (gate["checks"], gate["risk"]) == (asked["checks"], asked["risk"])
        assert gate["reasons"] == asked["risk_reasons"]
        assert "the gate would refuse it: the kill switch is on" in found.text
        assert found.data["reasons"] == asked["policy"]["rationale"]


def test_a_mirrored_interval_is_credited_to_the_version_that_ran_during_it(
    operations: Operations, server: tuple[RunningServer, str]
) -> None:
    with Store.open("sqlite://") as store:
        room = attached(server[1], store).room
        operations.turn()
        room.refresh()
        operations.gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="test")
        operations.turn()
        room.refresh()
        assert [interval.version for interval in room.intervals] == [0, 1, 2]


def test_goals_of_one_id_over_rest_and_over_a1_are_both_mirrored(server: tuple[RunningServer, str]) -> None:
    with Store.open("sqlite://") as store:
        room = attached(server[1], store).room
        for path, body in (("/v1/goals/p1", GOAL), (f"{POLICIES}/p1", BODY)):
            httpx.put(f"{server[1]}{path}", json=body).raise_for_status()
        room.refresh()
        assert [goal.expectations[0].metric.value for goal in room.goals()] == ["priority", "in_time_ratio"]
        assert [goal.expectations[0].metric.value for goal in room.changes.own_goals()] == ["priority"]
        httpx.delete(f"{server[1]}/v1/goals/p1").raise_for_status()
        room.refresh()
        assert [goal.expectations[0].metric.value for goal in room.goals()] == ["in_time_ratio"]


@pytest.mark.parametrize("line", ["/apply", "/approve 1", "/reject 1", "/rollback 0", "/goal energy", "/goal clear"])
def test_an_attached_chat_changes_nothing(operations: Operations, server: tuple[RunningServer, str], line: str) -> None:
    with Store.open("sqlite://") as store:
        session = attached(server[1], store)
        session.decide = lambda _: True
        before = operations.gate.desired.version
        assert run_slash(session, line).exit_status == 4
        with pytest.raises(PolicyRejected):
            session.room.gate.rollback(0, now_s=1.0, lifetime_s=60.0, actor="test", reason="test")
        assert operations.gate.desired.version == before


def test_a_server_that_goes_away_is_said_and_the_session_kept(server: tuple[RunningServer, str]) -> None:
    with Store.open("sqlite://") as store:
        session = attached(server[1], store)
        session.ask("status")
        num_messages = len(session.messages)
        server[0].stop()
        with pytest.raises(ServerUnreachable, match="can't be reached"):
            session.ask("and now?")
        with pytest.raises(ServerUnreachable, match="edgewright serve"):
            run_slash(session, "/status")
        assert len(session.messages) == num_messages


def test_views_are_the_servers_own_documents(server: tuple[RunningServer, str], tmp_path) -> None:
    options = RoomOptions(server=server[1], is_read_only=True)
    session = open_session(options, "embedded", tmp_path, session=None, is_resumed=False)
    assert '"version": 1' in run_slash(session, "/policies").text
    with pytest.raises(AgentInputInvalid, match="unknown"):
        run_slash(session, "/frobnicate")


def test_other_trouble_has_words_of_its_own(server: tuple[RunningServer, str]) -> None:
    with pytest.raises(AgentInputInvalid, match="expected http"), ServerLink("ftp://x"):
        pass
    with ServerLink(server[1]) as link, pytest.raises(ServerRefused, match="404"):
        link.get("/v1/nothing")


def test_a_server_without_an_interval_is_not_ready(operations: Operations) -> None:
    running = RunningServer(create_app(operations))
    url = running.start()
    try:
        with Store.open("sqlite://") as store, pytest.raises(AgentError, match="no interval yet"):
            attach(ServerLink(url), store)
    finally:
        running.stop()
