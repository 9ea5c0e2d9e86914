"""One pass of the server for all clients gives what serving them in turn gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from peft import TaskType

from sfl_finetune.errors import ModelUnsupported, SettingInvalid
from sfl_finetune.faults import Fault
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.schemes import batched
from tests.federation_stage import PLAIN_SGD, assert_same, make_federation, make_model, make_sites


@pytest.mark.parametrize("cut_layer", [1, {"site0": 1, "site1": 2, "site2": 1}], ids=["one cut", "mixed cuts"])
@pytest.mark.parametrize("task", ["classification", "causal_lm"])
def test_one_pass_for_all_clients_changes_no_result(task: str, cut_layer: Any) -> None:
    # At ten times this rate the model magnifies what rounding leaves after four steps to 5e-6.
    optimiser = replace(PLAIN_SGD, learning_rate=0.05)
    given: dict[str, Any] = {"local_steps": 2, "optimiser": optimiser, "cut_layer": cut_layer, "batch_size": 2}
    plain = make_federation(task, **given)
    together = make_federation(task, scheme=replace(batched(), wire="fp32"), **given)
    for round_ in range(2):
        wanted, found = plain.run_round(round_), together.run_round(round_)
        assert found.loss == pytest.approx(wanted.loss, abs=1e-5)
        assert found.num_targets == wanted.num_targets
    assert_same(together.state, plain.state)


@pytest.mark.parametrize("kind", ["vanish", "nan", "shape", "oversize", "absent"])
def test_one_pass_goes_on_without_the_client_that_fails(kind: Any) -> None:
    given: dict[str, Any] = {"scheme": replace(batched(), wire="fp32"), "limit_bytes": 50_000, "optimiser": PLAIN_SGD}
    hurt = make_federation(faults=[Fault(client="site1", round=0, kind=kind)], **given)
    report = hurt.run_round(0)
    gone = make_federation(faults=[Fault(client="site1", round=0, kind="absent")], **given)
    gone.run_round(0)
    assert report.participants == ("site0", "site2")
    assert_same(hurt.state, gone.state)


def test_one_pass_refuses_what_it_can_not_keep_apart() -> None:
    from peft import IA3Config

    settings = FederationSettings(task="causal_lm", scheme=batched())
    ia3 = IA3Config(task_type=TaskType.CAUSAL_LM, target_modules=["k_proj"], feedforward_modules=[])
    with pytest.raises(ModelUnsupported, match="no linear module"):
        Federation(make_model("causal_lm"), ia3, make_sites("causal_lm"), settings)
    with pytest.raises(SettingInvalid, match="U-shape"):
        make_federation(scheme=batched(), is_u_shaped=True)
