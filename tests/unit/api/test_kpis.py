"""What `/v1/kpis` says, under which names, and of guaranteed rates."""

from __future__ import annotations

import json

import pytest

from api.operations import Operations
from tests.unit.api.test_a1 import BODY, PLMN, POLICIES

SLICE = "2-000001"
BOTH = {"sliceSlaResources": {"cellIdList": [{"plmnId": PLMN, "cId": {"ncI": cell}} for cell in (1, 2)]}}


@pytest.fixture
def busy(operations, monkeypatch) -> Operations:
    """The policy's slice is offered and served 3000 kbit/s in cell 1, 2000 in 2, and 500 of 4000 in 3."""
    operations.turn()
    rates = {1: (3000.0, 3000.0), 2: (2000.0, 2000.0), 3: (4000.0, 500.0)}

    def loaded(digest):
        demand, served = rates[digest.cell]
        change = {"demand_kbps": demand, "served_kbps": served, "kbps_per_prb": 1000.0}
        rows = [row.model_copy(update=change if str(row.slice) == SLICE else {}) for row in digest.slices]
        return digest.model_copy(update={"slices": tuple(rows)})

    digests = tuple(loaded(digest) for digest in operations.digests)
    monkeypatch.setattr(Operations, "digests", digests)
    return operations


async def told(client) -> dict[int, tuple[float | None, bool | None]]:
    rows = (await client.get("/v1/kpis")).json()
    assert all(row["guaranteed_kbps"] is row["is_fulfilled"] is None for row in rows if row["slice"] != SLICE)
    return {row["cell"]: (row["guaranteed_kbps"], row["is_fulfilled"]) for row in rows if row["slice"] == SLICE}


def guaranteeing(rate_kbps: float, **more: object) -> dict[str, object]:
    return {**BODY, "sliceSlaObjectives": {"guaDlThptPerSlice": rate_kbps}, **more}


async def test_a_rate_is_judged_over_all_cells_in_its_scope(client, busy):
    await client.put(f"{POLICIES}/p1", json=guaranteeing(5000, **BOTH))
    assert await told(client) == {1: (5000, True), 2: (5000, True), 3: (None, None)}
    await client.put(f"{POLICIES}/p1", json=guaranteeing(5500))
    assert await told(client) == dict.fromkeys((1, 2, 3), (5500, True))
    await client.put(f"{POLICIES}/p1", json=guaranteeing(8000))
    assert await told(client) == dict.fromkeys((1, 2, 3), (8000, False))


async def test_a_rate_that_nobody_uses_up_is_fulfilled_unless_the_cells_could_not_carry_it(client, busy):
    await client.put(f"{POLICIES}/p1", json=guaranteeing(90_000, **BOTH))
    assert (await told(client))[1] == (90_000, True)
    num_prb = sum(digest.num_prb for digest in busy.digests[:2])
    await client.put(f"{POLICIES}/p1", json=guaranteeing(1000 * num_prb + 1, **BOTH))
    assert (await told(client))[1] == (None, None)


async def test_where_two_meet_the_greater_is_told_and_both_must_be_fulfilled(client, busy):
    await client.put(f"{POLICIES}/p1", json=guaranteeing(5000, **BOTH))
    await client.put(f"{POLICIES}/p2", json=guaranteeing(8000))
    assert await told(client) == {1: (8000, False), 2: (8000, False), 3: (8000, False)}
    await client.put(f"{POLICIES}/p2", json=guaranteeing(4000))
    assert await told(client) == {1: (5000, True), 2: (5000, True), 3: (4000, True)}


async def test_a_rate_that_no_plan_can_reach_does_not_hide_the_guarantee_in_force_beside_it(client, busy):
    num_prb = sum(digest.num_prb for digest in busy.digests)
    await client.put(f"{POLICIES}/p1", json=guaranteeing(5000))
    await client.put(f"{POLICIES}/p2", json=guaranteeing(1000 * num_prb + 1))
    assert await told(client) == dict.fromkeys((1, 2, 3), (5000, True))


async def test_a_slices_aggregate_is_not_told_under_the_name_of_a_single_devices_mean(client, busy):
    rows = (await client.get("/v1/kpis")).json()
    assert {row["cell"]: row["served_kbps"] for row in rows if row["slice"] == SLICE} == {1: 3000, 2: 2000, 3: 500}
    assert not {"DRB.UEThpDl", "DRB.RlcSduDelayDl", "RRU.PrbTotDl"} & set().union(*rows)
    assert all(row["RRU.PrbUsedDl"] >= 0 for row in rows)


@pytest.mark.parametrize(
    ("served_kbps", "delay_p95_ms", "told"),
    [(0.0, 0.0, None), (0.0, 10_000.0, None), (5.0, 0.0, None), (5.0, 2.5, 2.5), (5.0, 10_000.0, 10_000.0)],
)
async def test_a_delay_is_told_only_of_what_was_served(
    client, operations, monkeypatch, served_kbps, delay_p95_ms, told
):
    operations.turn()
    change = {"served_kbps": served_kbps, "delay_p95_ms": delay_p95_ms}
    digests = tuple(
        digest.model_copy(update={"slices": tuple(row.model_copy(update=change) for row in digest.slices)})
        for digest in operations.digests
    )
    monkeypatch.setattr(Operations, "digests", digests)
    assert {row["delay_p95_ms"] for row in (await client.get("/v1/kpis")).json()} == {told}


async def test_every_figure_states_its_unit_in_the_answer_and_its_meaning_in_the_document(client, busy):
    row = (await client.get("/v1/kpis")).json()[0]
    assert row["units"] == {
        "end_s": "s",
        "demand_kbps": "kbit/s",
        "served_kbps": "kbit/s",
        "delay_p95_ms": "ms",
        "RRU.PrbUsedDl": "PRB",
        "guaranteed_kbps": "kbit/s",
    }
    document = (await client.get("/openapi.json")).json()
    fields = document["components"]["schemas"]["KpiRow"]["properties"]
    assert set(fields) == set(row)
    assert "kbit/s" in fields["served_kbps"]["description"]
    assert "DRB.UEThpDl" in fields["served_kbps"]["description"]
    assert "null where nothing was served" in fields["delay_p95_ms"]["description"]
    assert {"type": "null"} in fields["delay_p95_ms"]["anyOf"]


async def test_a_row_fits_the_line_that_the_chat_shows_of_it(client, busy):
    await client.put(f"{POLICIES}/p1", json=guaranteeing(90_000.5, **BOTH))
    assert all(len(json.dumps(row)) < 400 for row in (await client.get("/v1/kpis")).json())
