"""What the numbers of a request count, and that the chat makes nothing of units and names it can't use."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agent.models.chat_model import EMBEDDED_OPERATOR, EmbeddedChatModel
from agent.models.operator_grammar import untaken_places
from agent.models.operator_hearing import hear
from agent.models.operator_language import CHANGING, call
from agent.models.operator_quantities import Quantity
from agent.pretraining.operator_language.phrasebook import FOLDER, read_words
from telemetry_sim.scenarios import scenario

TOOLS = frozenset({"network_status", "what_if_down", "what_if_demand", "what_if_share", *CHANGING})
needs_weights = pytest.mark.skipif(
    not (EMBEDDED_OPERATOR / "model.safetensors").is_file(), reason="`edgewright pretrain --task operator` was not run"
)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ("cell 3 by 3 dB", ["CELL", "OTHER"]),
        ("cells 1, 2 and 3", ["CELL", "CELL", "CELL"]),
        ("cell 3 and 4", ["CELL", "PLAIN"]),
        ("c3, site-2, gNB #4 and base station no 1", ["CELL", "CELL", "CELL", "CELL"]),
        ("cell 3's load and cell 2s load", ["CELL", "CELL"]),
        ("2's load", ["PLAIN"]),
        ("the 2nd cell", ["ORDINAL"]),
        ("cell 3 times 4", ["CELL", "TIMES"]),
        ("video x3, then 4x, five-fold", ["TIMES", "TIMES", "TIMES"]),
        ("20Mb/s, 20 kb/s, 20 Gbps", ["MBPS", "OTHER", "OTHER"]),
        ("under5ms and 7 millisconds", ["MS", "MS"]),
        ("twenty-five percent or three dB", ["PCT", "OTHER"]),
        ("plan 2, v3 and version 4 by 10 %", ["VERSION", "VERSION", "VERSION", "PCT"]),
        ("slice 9", ["SLICE"]),
        ("in 5 c2", ["PLAIN", "CELL"]),
        ("1 s, 20 minutes", ["DURATION", "DURATION"]),
        ("a factor of 3 at most 10", ["PLAIN", "PLAIN"]),
        ("the 5QI, n78, 5G, 6G, LTE-M1, ISO9001, 3GPP, 802.11, 802.11ax, V2X, p95", []),
        ("10.0.0.1 at 16:30", []),
    ],
)
def test_a_number_counts_what_is_said_with_it(said: str, counted: list[str]) -> None:
    heard = hear(said, cells=(1, 2, 3, 4, 5), slices=("video", "metering"))
    assert [quantity.name for quantity in heard.quantities] == counted


def test_a_slice_that_holds_a_number_is_still_its_name() -> None:
    heard = hear("how are 5G phones and n78?", cells=(1, 5), slices=("5g-phones", "n78"))
    assert heard.prompt.partition("<u> ")[2] == "how are <s1> and <s2> ?"
    assert heard.numbers == ()


@pytest.mark.parametrize("unit", ["ms", "mbps", "pct"])
def test_every_unit_of_training_is_read_with_its_number(unit: str) -> None:
    for word in read_words(FOLDER / "words.txt")[unit].strip("{}").split("|"):
        heard = hear(f"at 7 {word}", cells=(), slices=("a",))
        assert heard.quantities == (Quantity[unit.upper()],), word


def test_an_equal_number_of_another_unit_is_not_taken() -> None:
    heard = hear("reduce the power of cell 3 by 3 dB", cells=(3,), slices=("a",))
    assert untaken_places(heard, [call("what_if_down", {"cell": 3})]) == (1,)
    assert heard.said[1] == "3 dB"
    again = hear("cell 3, yes 3", cells=(3,), slices=("a",))
    assert untaken_places(again, [call("what_if_down", {"cell": 3})]) == ()


@pytest.fixture(scope="module")
def model() -> EmbeddedChatModel:
    return EmbeddedChatModel.of(scenario("smart-city").topology)


def said(model: EmbeddedChatModel, text: str) -> AIMessage:
    return model._next([HumanMessage(text)], TOOLS)


@needs_weights
@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("reduce the transmit power of cell 3 by 3 dB", "3 dB"),
        ("reduce the transmit power of cell 3 by three dB", "three dB"),
        ("lower the tx power of cell 2 by 3dBm", "3dBm"),
        ("what happens if cell 2 loses 3 dB", "3 dB"),
        ("keep vehicles under 5 GHz", "5 GHz"),
        ("what if cameras get 40 PRBs", "40 PRBs"),
        ("keep vehicles under 1 s", "1 s"),
        ("what if cell 2 fails for 2 minutes", "2 minutes"),
    ],
)
def test_a_quantity_that_no_call_takes_is_asked_about_or_declined(
    model: EmbeddedChatModel, text: str, quantity: str
) -> None:
    answer = said(model, text)
    assert answer.tool_calls == []
    assert str(answer.content).startswith((f"I can't place {quantity} in that", "I can't do that"))


@needs_weights
@pytest.mark.parametrize("text", ["what is the 5QI of video", "what's the 5qi of the cameras slice?"])
def test_the_5_of_a_5qi_is_no_number(model: EmbeddedChatModel, text: str) -> None:
    assert [(c["name"], c["args"]) for c in said(model, text).tool_calls] == [("network_status", {"slice": "cameras"})]


@needs_weights
@pytest.mark.parametrize(
    "text",
    ["is n78 used in cell 2", "are we ISO9001 certified", "are we 3GPP compliant", "does 802.11ax disturb cell 1"],
)
def test_a_name_with_digits_changes_and_plays_through_nothing(model: EmbeddedChatModel, text: str) -> None:
    assert {c["name"] for c in said(model, text).tool_calls} <= {"network_status"}
