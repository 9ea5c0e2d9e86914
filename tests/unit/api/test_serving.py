"""What a server is put together from."""

import pytest
from click.testing import CliRunner

from agent.bootstrap import load_model
from agent.planner import GatedModelPlanner
from api.commands import serve
from api.errors import ServerMisconfigured
from api.serving import DeferredModel, ServeOptions, build_operations
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
