"""What a chat sees of a server's intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.chat.server_mirror import ServerNetwork
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.scenarios import scenario
from tests.agent_stage import random_case


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
