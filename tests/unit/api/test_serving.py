"""What a server is put together from."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from agent.bootstrap import load_model
from agent.errors import PolicyRejected, StoreUnusable
from agent.gate.gate import Gate
from agent.planner import GatedModelPlanner
from agent.policy import SchedulingPolicy
from api.commands import serve
from api.errors import ServerMisconfigured
from api.serving import DeferredModel, ServeOptions, build_operations
from api.serving import serve as run_server
from telemetry_sim.actions import SliceAction
from telemetry_sim.scenarios import scenario
from tests.agent_stage import random_prompts


def test_the_embedded_model_plans_unless_another_planner_is_asked_for(tmp_path):
    operations = build_operations(ServeOptions(store_url=f"sqlite:///{tmp_path}/store.db", num_devices=60))
    assert isinstance(operations._loop.planner, GatedModelPlanner)
    assert isinstance(operations._loop.planner.model, DeferredModel)
    operations.store.close()


def test_the_embedded_model_is_asked_by_either_of_its_planners_names(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    for name in ("llm", "llm_gated"):
        operations = build_operations(ServeOptions(store_url=url, num_devices=60, planner=name))
        assert operations.planner_name == "llm_gated"
        operations.store.close()


@pytest.mark.parametrize("given", ["alice", "alice:", ":operator"])
def test_a_new_token_without_a_name_and_a_role_is_told_what_is_expected(tmp_path, given):
    told = CliRunner().invoke(serve, ["--store", f"sqlite:///{tmp_path}/store.db", "--new-token", given])
    assert told.exit_code == 2
    assert "expected NAME:ROLE" in told.output
    assert not (tmp_path / "store.db").exists()


def test_a_deferred_model_answers_as_the_embedded_one():
    prompts = random_prompts([1, 2])
    assert DeferredModel().answer(prompts) == load_model().answer(prompts)
    assert DeferredModel().name == load_model().name


@pytest.mark.parametrize("extra", [{"model": "somewhere/else"}, {"planner": "oracle"}])
def test_a_planner_that_asks_no_model_is_not_given_one(tmp_path, extra):
    options = ServeOptions(store_url=f"sqlite:///{tmp_path}/store.db", **{"planner": "optimiser"} | extra)
    with pytest.raises(ServerMisconfigured, match=r"asks no model|expected llm, llm_gated or one of"):
        build_operations(options)
    assert not (tmp_path / "store.db").exists()


def shifted(gate: Gate, scenario_name: str, points: int, *, at_s: float = 0.0) -> SchedulingPolicy:
    """The next version: in each cell so many points more for the first slice, at the second's expense."""
    topology = scenario(scenario_name).topology
    shares = (25 + points, 25 - points, 25, 25)
    return SchedulingPolicy(
        version=gate.next_version(),
        parent_version=gate.desired.version,
        planner="optimiser",
        valid_from_s=at_s,
        valid_until_s=at_s + 900.0,
        actions=tuple(
            SliceAction(cell=cell.id, slice=profile.id, min_pct=pct)
            for cell in topology.cells
            for profile, pct in zip(topology.slices, shares, strict=True)
        ),
    )


@pytest.mark.parametrize(
    ("other", "match"),
    [("smart-home", r"cells \[3\] and slices \['2-000001', '4-000001'\].*--store"), ("ehealth", "names cells")],
)
def test_a_store_of_another_network_is_refused_before_the_server_starts(tmp_path, other, match):
    options = ServeOptions(store_url=f"sqlite:///{tmp_path}/store.db", planner="optimiser")
    operations = build_operations(options)
    assert operations.gate.submit(shifted(operations.gate, "smart-city", 5), now_s=0.0).is_enforced
    operations.store.close()
    with pytest.raises(StoreUnusable, match=match):
        build_operations(replace(options, scenario=other))
    again = build_operations(options)
    again.resume()
    assert again.gate.desired.version == 1
    again.store.close()


def test_after_a_rollback_planned_changes_wait_until_it_is_known_what_is_normal(tmp_path):
    options = ServeOptions(store_url=f"sqlite:///{tmp_path}/store.db", planner="optimiser", interval_s=20.0)
    operations = build_operations(options)
    gate = operations.gate
    gate.submit(shifted(gate, "smart-city", 5), now_s=0.0)
    for at_s in (20.0, 40.0, 60.0):
        gate.observe(0.8, version=1, now_s=at_s)
    gate.submit(shifted(gate, "smart-city", 20, at_s=60.0), now_s=60.0)
    assert [gate.observe(0.2, version=2, now_s=at_s) is None for at_s in (80.0, 100.0)] == [True, False]
    with pytest.raises(PolicyRejected, match="cooling down after a rollback until 160 s"):
        gate.submit(shifted(gate, "smart-city", 20, at_s=140.0), now_s=140.0)
    for at_s in (120.0, 140.0, 160.0):
        gate.observe(0.8, version=3, now_s=at_s)
    gate.submit(shifted(gate, "smart-city", 20, at_s=160.0), now_s=160.0)
    assert [gate.observe(0.2, version=4, now_s=at_s) is None for at_s in (180.0, 200.0)] == [True, False]
    operations.store.close()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_tls_files_that_can_not_be_used_are_named_before_anything_is_served(tmp_path, content):
    certificate, key = tmp_path / "site.pem", tmp_path / "site.key"
    if content is not None:
        certificate.write_text(content)
        key.write_text(content)
    told: list[dict[str, object]] = []
    store = tmp_path / "store.db"
    options = ServeOptions(port=0, store_url=f"sqlite:///{store}", tls_certificate=certificate, tls_key=key)
    with pytest.raises(ServerMisconfigured, match=r"site\.pem.*site\.key.*were expected"):
        run_server(options, told.append)
    assert told == []
    assert not store.exists()
