"""What was asked for and what was delivered: told apart, and no delay where nothing was delivered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.control_room import ControlRoom
from agent.tools import looking, what_if
from agent.tools.slice_rows import cell_table, slice_load, slice_row, slice_table
from telemetry_sim.topology import SliceProfile


def starve(room: ControlRoom, *, served_kbps: float = 0.0, delay_p95_ms: float = 10_000.0) -> SliceProfile:
    """Let the first slice of every cell look as if nothing, or so much, had been served."""
    latest = room.intervals.pop()
    changed = {"demand_kbps": 4900.0, "served_kbps": served_kbps, "delay_p95_ms": delay_p95_ms}
    digests = tuple(
        digest.model_copy(update={"slices": (digest.slices[0].model_copy(update=changed), *digest.slices[1:])})
        for digest in latest.digests
    )
    room.intervals.append(replace(latest, digests=digests))
    return room.topology.slices[0]


def test_a_slice_that_gets_nothing_has_no_delay(room: ControlRoom) -> None:
    profile = starve(room)
    for cell in (None, 1):
        row = slice_row(room, profile, cell)
        assert row["delay_p95_ms"] is None
        assert row["served_mbps"] == 0.0
        assert "nothing delivered" in slice_load(row)
        assert "p95" not in slice_load(row)
    found = looking.network_status(room, slice=profile.name, cell=1)
    assert "10000" not in found.to_json()
    assert "nothing delivered" in found.text


def test_tables_show_a_dash_where_there_is_no_delay(room: ControlRoom) -> None:
    row = slice_row(room, starve(room), 1)
    for heads, line in (slice_table([row]), cell_table([row])):
        place = heads.index("p95 ms") + len("p95 ms")
        assert line[:place].endswith(" –")
        assert len(heads) < 80


def test_the_delay_is_of_the_cells_that_delivered(room: ControlRoom) -> None:
    profile = starve(room)
    latest = room.intervals.pop()
    first = latest.digests[0]
    some = first.slices[0].model_copy(update={"served_kbps": 1000.0, "delay_p95_ms": 12.34})
    digests = (first.model_copy(update={"slices": (some, *first.slices[1:])}), *latest.digests[1:])
    room.intervals.append(replace(latest, digests=digests))
    assert slice_row(room, profile)["delay_p95_ms"] == 12.0
    assert slice_row(room, profile)["served_mbps"] == 1.0


@pytest.mark.parametrize(("read_ms", "told_ms"), [(312.5, 310.0), (6.83, 6.8), (48.4, 48.0), (1234.0, 1200.0)])
def test_a_delay_is_told_to_the_digits_that_its_histogram_knows(
    room: ControlRoom, read_ms: float, told_ms: float
) -> None:
    row = slice_row(room, starve(room, served_kbps=4000.0, delay_p95_ms=read_ms), 1)
    assert row["delay_p95_ms"] == told_ms
    assert f"4.9 Mb/s asked for by {row['num_devices']} devices, 4 Mb/s delivered with a p95 of {told_ms:g} ms" in (
        slice_load(row)
    )


def test_a_trickle_is_not_told_as_nothing(room: ControlRoom) -> None:
    row = slice_row(room, starve(room, served_kbps=2.7, delay_p95_ms=3.0), 1)
    assert row["served_mbps"] == 0.003


def test_a_cell_says_what_it_delivers_of_what_is_asked(room: ControlRoom) -> None:
    found = looking.network_status(room, cell=1)
    digest = next(digest for digest in room.latest.digests if digest.cell == 1)
    served, asked = (
        round(sum(getattr(row, name) for row in digest.slices) / 1000.0, 1) for name in ("served_kbps", "demand_kbps")
    )
    assert (found.data["served_mbps"], found.data["demand_mbps"]) == (served, asked)
    assert f"{served:g} of {asked:g} Mb/s delivered" in found.text


def test_what_if_names_the_cell_and_gives_before_after_and_target(room: ControlRoom) -> None:
    for found in (
        what_if.what_if_share(room, slice="cameras", value=40, cell=1),
        what_if.what_if_demand(room, slice="cameras", value=2, cell=1),
    ):
        data = found.data
        assert (
            f"cell 1's utility would go from {data['utility_now_pct']:g} % to {data['utility_then_pct']:g} %"
            in found.text
        )
        assert (
            f"- cameras in time: {data['in_time_now_pct']:g} % to {data['in_time_then_pct']:g} % "
            f"(target {data['in_time_target_pct']:g} %)" in found.text
        )
    everywhere = what_if.what_if_share(room, slice="cameras", value=40)
    assert ", utility would go from" in everywhere.text


def test_what_if_demand_is_by_or_to_a_percentage(room: ControlRoom) -> None:
    by, to = (
        what_if.what_if_demand(room, slice="cameras", value=value, change=change, cell=1)
        for value, change in ((90, "down_pct"), (10, "to_pct"))
    )
    assert (by.data["factor"], to.data["factor"]) == (0.1, 0.1)
    assert by.data["utility_then_pct"] == to.data["utility_then_pct"]
    assert to.text.startswith("With 0.1 times the cameras demand")


def test_what_if_share_tells_where_it_rounds(room: ControlRoom) -> None:
    found = what_if.what_if_share(room, slice="cameras", value=0.4, cell=1)
    assert found.text.startswith("With 0 % of the PRBs for cameras (shares are whole percents, so not 0.4 %) in cell 1")
    assert "whole percents" not in what_if.what_if_share(room, slice="cameras", value=40.0).text
