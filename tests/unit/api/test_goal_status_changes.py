"""What a PUT makes of a goal's status: told like every other change, and left alone where nothing changes."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.store.audit_trail import read_trail
from api.goal_book import StatusChange
from api.settings import ApiSettings
from api.slice_sla import POLICY_TYPE_ID
from tests.api_stage import PausedWriter, Stage, build_stage, client_for
from tests.unit.api.test_a1 import BODY, PLMN, POLICIES, status, with_objectives

ALLOWED = ApiSettings(callback_hosts=frozenset({"consumer.test"}))
PATH = f"{POLICIES}/p1"
ELSEWHERE = {**BODY, "scope": {"sliceId": {"sst": 9, "plmnId": PLMN}}}
WAITING = ("p1", "NOT_ENFORCED", "OTHER_REASON")
NOT_APPLICABLE = ("p1", "NOT_ENFORCED", "SCOPE_NOT_APPLICABLE")


@pytest.fixture
async def client(operations):
    async with client_for(operations, ALLOWED) as made:
        yield made


@pytest.fixture
def told(client, operations) -> list[tuple[str, str, str]]:
    """Id, status and reason of each change that a consumer would be notified of."""
    heard: list[tuple[str, str, str]] = []

    def hear(change: StatusChange) -> None:
        heard.append((change.goal.id, change.goal.status, change.goal.reason))

    operations.on_status = hear
    return heard


def audited(stage: Stage) -> list[tuple[str, str, str, str]]:
    """Actor, id, status and reason of each change on record."""
    # Handed in last, so all that was handed in before is durable.
    stage.store.write(lambda _: None)
    entries = [entry for entry in stage.store.read(lambda c: list(read_trail(c))) if entry.kind == "goal_status"]
    return [(entry.actor, *(json.loads(entry.body)[name] for name in ("id", "status", "reason"))) for entry in entries]


async def test_a_new_policy_that_waits_is_no_news(client, stage, told):
    await client.put(PATH, json=BODY)
    assert told == audited(stage) == []


async def test_a_new_policy_that_is_not_applicable_says_so(client, stage, told):
    await client.put(PATH, json=ELSEWHERE)
    assert told == [NOT_APPLICABLE]
    assert audited(stage) == [("local", *NOT_APPLICABLE)]
    stage.operations.turn()
    assert told == [NOT_APPLICABLE]


async def test_an_update_that_waits_again_says_so(client, stage, told):
    await client.put(PATH, json=BODY)
    stage.operations.turn()
    await client.put(PATH, json=with_objectives(guaDlThptPerSlice=9000))
    assert told == [("p1", "ENFORCED", ""), WAITING]
    assert audited(stage) == [("loop", "p1", "ENFORCED", ""), ("local", *WAITING)]


async def test_an_update_that_is_not_applicable_any_more_says_so_and_one_that_is_again_too(client, stage, told):
    await client.put(PATH, json=BODY)
    for body, expected in ((ELSEWHERE, NOT_APPLICABLE), (BODY, WAITING)):
        await client.put(PATH, json=body)
        assert told.pop() == expected
        assert audited(stage)[-1] == ("local", *expected)
    assert told == []


async def test_listeners_hear_of_it_as_of_every_other_change(client, operations):
    await client.put(PATH, json=BODY)
    operations.turn()
    with operations.events.listening() as queue:
        await client.put(PATH, json=with_objectives(guaDlThptPerSlice=9000))
        event = await queue.get()
    assert (event.kind, event.document["status"]) == ("goal_status", "NOT_ENFORCED")


async def test_another_destination_changes_no_status(client, stage, told, tmp_path):
    await client.put(PATH, json=BODY)
    stage.operations.turn()
    told.clear()
    assert (await client.put(f"{PATH}?notificationDestination=http://consumer.test/x", json=BODY)).status_code == 200
    for _ in range(2):
        assert await status(client) == {"enforceStatus": "ENFORCED"}
        stage.operations.goals.refresh(stage.operations.states())
    kept = stage.operations.goals.find(POLICY_TYPE_ID, "p1")
    assert (kept.revision, kept.notification_destination) == (2, "http://consumer.test/x")
    assert told == []
    assert len(audited(stage)) == 1
    again = build_stage(f"sqlite:///{tmp_path}/store.db", stage.clock)
    assert again.operations.goals.find(POLICY_TYPE_ID, "p1").status == "ENFORCED"
    again.store.close()


async def test_another_destination_of_what_is_not_applicable_is_no_news(client, stage, told):
    await client.put(PATH, json=ELSEWHERE)
    await client.put(f"{PATH}?notificationDestination=http://consumer.test/x", json=ELSEWHERE)
    assert told == [NOT_APPLICABLE]
    assert len(audited(stage)) == 1


async def test_a_status_that_changes_while_another_destination_is_put_is_not_lost(client, stage, told, tmp_path):
    await client.put(PATH, json=BODY)
    with PausedWriter(stage.store) as writer:
        put = asyncio.create_task(client.put(f"{PATH}?notificationDestination=http://consumer.test/x", json=BODY))
        await writer.has(1)
        goals = stage.operations.goals
        goals.planned(goals.live_goals(), version=1)
        goals.refresh(stage.operations.states())
        await writer.has(2)
    await put
    assert await status(client) == {"enforceStatus": "ENFORCED"}
    assert told == [("p1", "ENFORCED", "")]
    stage.store.write(lambda _: None)
    again = build_stage(f"sqlite:///{tmp_path}/store.db", stage.clock)
    assert again.operations.goals.find(POLICY_TYPE_ID, "p1").status == "ENFORCED"
    again.store.close()


async def test_the_same_document_in_another_order_is_the_same(client, stage, told):
    await client.put(PATH, json=BODY)
    stage.operations.turn()
    told.clear()
    turned = {"sliceSlaObjectives": BODY["sliceSlaObjectives"], "scope": BODY["scope"]}
    answer = await client.put(PATH, content=json.dumps(turned, indent=3), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, BODY)
    assert await status(client) == {"enforceStatus": "ENFORCED"}
    assert stage.operations.goals.find(POLICY_TYPE_ID, "p1").revision == 1
    assert told == []
