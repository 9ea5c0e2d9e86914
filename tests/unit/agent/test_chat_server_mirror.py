"""What a chat sees of a server's intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.chat.server_mirror import ServerNetwork
from agent.chat.server_schedules import actions_of
from agent.dispatch.desired import DesiredState
from api.schedules import schedule_of
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import CellAction, Scheduler, SliceAction
from telemetry_sim.scenarios import scenario
from tests.agent_stage import TOPOLOGY, random_case


@dataclass
class Link:
    """Answers as a server whose latest digests are these."""

    digests: tuple[EdgeDigest, ...] = ()

    def get(self, path: str) -> Any:
        if path == "/v1/topology":
            return scenario("smart-city").topology.model_dump(mode="json")
        return [digest.model_dump(mode="json") for digest in self.digests]


def ending(end_s: float, *, cell: int) -> EdgeDigest:
    digest, _ = random_case(3)
    return digest.model_copy(update={"cell": cell, "start_s": end_s - 10, "end_s": end_s})


def test_an_edge_whose_clock_is_ahead_hides_no_later_interval():
    link = Link((ending(9000, cell=0), ending(50, cell=1)))
    network = ServerNetwork(link)
    assert network.next_interval(10.0) is not None
    assert network.next_interval(10.0) is None
    link.digests = (ending(60, cell=0), ending(60, cell=1))
    assert network.next_interval(10.0) is not None
    assert {digest.end_s for digest in network.digest((), ())} == {60}


def test_a_schedule_is_read_back_to_the_last_setting():
    cell, first, *_ = (TOPOLOGY.cells[0], *(profile.id for profile in TOPOLOGY.slices))
    changed = (
        SliceAction(
            cell=cell.id,
            slice=first,
            dedicated_pct=5,
            min_pct=20,
            max_pct=60,
            scheduler=Scheduler.EARLIEST_DEADLINE_FIRST,
            ue_rate_cap_mbps=2.5,
            admission_cap=7,
            compute_pct=40,
            offload_device_pct=10,
            offload_edge_pct=30,
            offload_cloud_pct=60,
            report_interval_s=5.0,
        ),
        CellAction(cell=cell.id, tx_power_step_db=-3, sleep=True, handover_offset_db=2),
    )
    desired = DesiredState.initial(TOPOLOGY).after(changed, version=1)
    assert actions_of(schedule_of(cell, desired, TOPOLOGY)) == desired.of_cell(cell.id)
