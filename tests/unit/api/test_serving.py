"""What a server is put together from."""

import pytest

from agent.bootstrap import load_model
from agent.planner import GatedModelPlanner
from api.errors import ServerMisconfigured
from api.serving import DeferredModel, ServeOptions, build_operations
from tests.agent_stage import random_prompts


def test_the_embedded_model_plans_unless_another_planner_is_asked_for(tmp_path):
    operations = build_operations(ServeOptions(store_url=f"sqlite:///{tmp_path}/store.db", num_devices=60))
    assert isinstance(operations._loop.planner, GatedModelPlanner)
    assert isinstance(operations._loop.planner.model, DeferredModel)
    operations.store.close()


def test_a_deferred_model_answers_as_the_embedded_one():
    prompts = random_prompts([1, 2])
    assert DeferredModel().answer(prompts) == load_model().answer(prompts)
    assert DeferredModel().name == load_model().name


@pytest.mark.parametrize("extra", [{"model": "somewhere/else"}, {"planner": "oracle"}])
def test_a_planner_that_asks_no_model_is_not_given_one(tmp_path, extra):
    options = ServeOptions(store_url=f"sqlite:///{tmp_path}/store.db", **{"planner": "optimiser"} | extra)
    with pytest.raises(ServerMisconfigured, match=r"asks no model|expected llm or one of"):
        build_operations(options)
    assert not (tmp_path / "store.db").exists()
