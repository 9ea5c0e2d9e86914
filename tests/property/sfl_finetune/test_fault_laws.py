"""A client or model that can't be used is refused by name; the round and the other clients go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import TaskType
from transformers import AlbertConfig, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, T5Config

from sfl_finetune.anatomy import anatomy
from sfl_finetune.errors import ModelUnsupported, SettingInvalid, TrainingFailed
from sfl_finetune.faults import Fault
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.schemes import batched, centralised, lean, sfl, sl
from sfl_finetune.wire import Message
from tests.federation_stage import PLAIN_SGD, SIZES, assert_same, make_federation, make_model, make_sites


def _assert_as_if_absent(hurt: Federation, **given: Any) -> None:
    """site1 fails in the first round, which ends as if it had not been there, and is back in the next."""
    report = hurt.run_round(0)
    gone = make_federation(faults=[Fault(client="site1", round=0, kind="absent")], **given)
    gone.run_round(0)
    assert report.participants == ("site0", "site2")
    assert set(report.dropped) == {"site1"}
    assert_same(hurt.state, gone.state, atol=0)
    assert hurt.run_round(1).participants == ("site0", "site1", "site2")


@pytest.mark.parametrize("kind", ["vanish", "nan", "shape", "oversize", "absent"])
@pytest.mark.parametrize("is_u_shaped", [False, True])
def test_average_is_the_survivors_when_a_client_fails(kind: Any, is_u_shaped: bool) -> None:
    faults = [Fault(client="site1", round=0, kind=kind, step=1 if kind != "absent" else 0)]
    given: dict[str, Any] = {"local_steps": 2, "is_u_shaped": is_u_shaped, "limit_bytes": 50_000}
    hurt = make_federation(faults=faults, **given)
    _assert_as_if_absent(hurt, **given)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("kind", ["vanish", "nan", "shape", "oversize"])
@pytest.mark.parametrize("is_u_shaped", [False, True])
def test_a_relay_hands_on_nothing_of_a_client_that_fails(kind: Any, is_u_shaped: bool, step: int) -> None:
    # Without moments: clients with one cut share a seat's, and a failed client's steps before its fault are in them.
    given: dict[str, Any] = {"scheme": sl(), "local_steps": 3, "is_u_shaped": is_u_shaped, "optimiser": PLAIN_SGD}
    hurt = make_federation(faults=[Fault(client="site1", round=0, kind=kind, step=step)], limit_bytes=50_000, **given)
    _assert_as_if_absent(hurt, **given)


def test_a_relays_client_that_fails_sends_no_more_in_its_round() -> None:
    given: dict[str, Any] = {"scheme": sl(), "local_steps": 3}
    hurt = make_federation(faults=[Fault(client="site1", round=0, kind="nan")], **given)
    hurt.run_round(0)
    assert hurt.uplink.traffic.num_messages == 3 + 1 + 3


@pytest.mark.parametrize("what", ["loss", "gradient", "shape"])
def test_a_head_that_answers_with_rubbish_is_out_of_the_round(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = make_federation(is_u_shaped=True)
    client = federation.clients["site1"]
    finish = client.finish

    def spoilt(features: Message) -> Message:
        reply = finish(features)
        assert reply.features is not None
        if what == "loss":
            return replace(reply, loss=float("nan"))
        bad = reply.features[:, 1:] if what == "shape" else reply.features * torch.nan
        return replace(reply, features=bad)

    monkeypatch.setattr(client, "finish", spoilt)
    report = federation.run_round(0)
    assert report.participants == ("site0", "site2")
    assert "site1" in report.dropped["site1"]
    gone = make_federation(is_u_shaped=True, faults=[Fault(client="site1", round=0, kind="absent")])
    gone.run_round(0)
    assert_same(federation.state, gone.state, atol=0)


def test_a_loss_that_is_none_costs_one_client_its_round() -> None:
    federation = make_federation(scheme=sfl())
    with torch.no_grad():
        federation.server.seats["site1"].segment.model.get_submodule("lm_head").weight.fill_(torch.inf)  # type: ignore[operator]
    report = federation.run_round(0)
    assert report.participants == ("site0", "site2")
    assert "the loss is nan" in report.dropped["site1"]


@pytest.mark.parametrize(
    ("auto", "config", "reason"),
    [
        (AutoModelForSequenceClassification, AlbertConfig(**SIZES, intermediate_size=24, embedding_size=8), "0 lists"),
        (AutoModelForSeq2SeqLM, T5Config(vocab_size=40, d_model=16, num_layers=2, num_heads=2, d_ff=24), "backbone"),
    ],
    ids=["one layer used again and again", "encoder and decoder"],
)
def test_a_family_that_can_not_be_split_is_refused(auto: Any, config: Any, reason: str) -> None:
    with pytest.raises(ModelUnsupported, match=reason):
        anatomy(auto.from_config(config))


@pytest.mark.parametrize("scheme", [lean(), sl(), batched()], ids=lambda scheme: scheme.name)
def test_a_site_that_joins_late_is_as_if_not_there_before(scheme: Any) -> None:
    late = make_federation(scheme=scheme, joins={"site2": 2})
    away = [Fault(client="site2", round=number, kind="absent") for number in (0, 1)]
    drilled = make_federation(scheme=scheme, faults=away)
    for number in range(4):
        report, other = late.run_round(number), drilled.run_round(number)
        assert report.participants == (("site0", "site1") if number < 2 else ("site0", "site1", "site2"))
        assert report.dropped == {}
        assert (report.loss, report.num_targets) == (other.loss, other.num_targets)
        assert_same(late.state, drilled.state, atol=0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"joins": {"west": 1}}, "'west' is to join but has no texts"),
        ({"joins": {"site0": 1, "site1": 2, "site2": 1}}, "one must be there in round 0"),
        ({"joins": {"site0": 6}}, "allowed: 0 to 5"),
        ({"joins": {"site0": 1}, "scheme": centralised()}, "pools all texts"),
        ({"batch_size": {"site0": 2}, "scheme": centralised()}, "pools all texts"),
        ({"batch_size": {"site0": 2}}, "no batch size is given for site 'site1'"),
        ({"batch_size": {"site0": 2, "site1": 0, "site2": 2}}, "batch_size=0"),
    ],
)
def test_joins_and_batches_that_fit_no_site_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingInvalid, match=reason):
        make_federation(**given)


def test_each_site_weighs_what_its_own_batches_hold() -> None:
    federation = make_federation("classification", batch_size={"site0": 1, "site1": 2, "site2": 4}, local_steps=3)
    assert federation.run_round(0).num_targets == 3 * (1 + 2 + 4)


def test_round_without_clients_fails_clearly() -> None:
    faults = [Fault(client=f"site{number}", round=0, kind="absent") for number in range(3)]
    with pytest.raises(TrainingFailed, match="no client took part"):
        make_federation(faults=faults).run_round(0)


@pytest.mark.parametrize("cut_layer", [0, 3, -1, 17])
def test_cut_outside_the_model_is_refused(cut_layer: int) -> None:
    with pytest.raises(SettingInvalid, match="allowed: 1 to 2"):
        make_federation(cut_layer=cut_layer)


def test_soft_prompts_belong_to_no_segment() -> None:
    from peft import PromptTuningConfig

    settings = FederationSettings(task="causal_lm", scheme=lean())
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=4)
    with pytest.raises(ModelUnsupported):
        Federation(make_model("causal_lm"), config, make_sites("causal_lm"), settings)
