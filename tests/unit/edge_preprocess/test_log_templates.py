"""Templates, ids, parameters and what is new."""

from __future__ import annotations

import json
import re

import pytest

from edge_preprocess.errors import StateUnreadable
from edge_preprocess.log_counters import LogCounter
from edge_preprocess.log_masking import VariableKind
from edge_preprocess.log_match import LogParameter, template_id_of
from edge_preprocess.log_patterns import Evidence
from edge_preprocess.log_templates import LogTemplateMiner, MinerLimits

GNB = "2026-05-01T10:00:00.123Z gnb-7 WARN rrc: handover of ue 4711 to cell 3 failed after 57 ms"


def test_lines_that_differ_in_numbers_share_a_template() -> None:
    miner = LogTemplateMiner()
    first, second = miner.observe(GNB), miner.observe(GNB.replace("4711", "12").replace("57 ms", "1043 ms"))
    assert first.template == second.template == "handover of ue <*> to cell <*> failed after <*> ms"
    assert (first.is_new, second.is_new) == (True, False)


def test_parameters_carry_their_kind() -> None:
    match = LogTemplateMiner().observe(
        "session 0x34ede65503f002d from 10.0.0.8 wrote /var/log/a.log at 45ms to db1.example.org"
    )
    assert [parameter.kind for parameter in match.parameters] == [
        VariableKind.HEX,
        VariableKind.NUMBER,
        VariableKind.PATH,
        VariableKind.QUANTITY,
        VariableKind.HOST,
    ]
    assert match.parameters[2].text == "/var/log/a.log"


def test_a_word_becomes_variable_once_enough_others_stood_in_its_place() -> None:
    miner = LogTemplateMiner()
    colours = ["red", "green", "blue", "black", "white", "amber", "violet", "brown"]
    matches = [miner.observe(f"the lamp in the hall now shines {colour} again") for colour in colours]
    assert {match.template for match in matches} == {"the lamp in the hall now shines <*> again"}
    assert [parameter.text for parameter in matches[-1].parameters] == ["brown"]
    assert sum(template.count for template in miner.templates) == len(colours)


def test_a_few_states_stay_apart() -> None:
    miner = LogTemplateMiner()
    matches = [miner.observe(f"task <1> moved to state {state}") for state in ("NEW", "RUNNING", "DONE")]
    assert len({match.template_id for match in matches}) == 3


def test_ids_do_not_depend_on_the_order_of_lines_or_on_the_edge() -> None:
    lines = [f"link {port} is {state}" for port in range(5) for state in ("up", "down")]
    forwards, backwards = LogTemplateMiner(), LogTemplateMiner()
    ids = {forwards.observe(line).template_id for line in lines}
    assert ids == {backwards.observe(line).template_id for line in reversed(lines)}
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9:.-]{0,47}", template_id) for template_id in ids)


def test_an_id_is_the_hash_of_the_text_and_of_the_rules_version() -> None:
    match = LogTemplateMiner().observe("link 5 is up")
    assert match.template_id == template_id_of("link <*> is up") == "t1-f153eda379c8"


def test_what_was_learned_survives_a_restart() -> None:
    miner = LogTemplateMiner()
    for name in ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"]:
        miner.observe(f"session opened for user {name} on console")
    restored = LogTemplateMiner.from_state(json.loads(json.dumps(miner.to_state())))
    match = restored.observe("session opened for user zoe on console")
    assert match.template == "session opened for user <*> on console"
    assert not match.is_new
    assert restored.num_lines == 9


@pytest.mark.parametrize("damage", [{"version": 2}, {"rules": "t0"}, {"patterns": [[1]]}, {"extra": 1}, {"slots": 3}])
def test_damaged_or_foreign_state_is_refused(damage: dict[str, object]) -> None:
    state = LogTemplateMiner().to_state() | damage
    with pytest.raises(StateUnreadable):
        LogTemplateMiner.from_state(state)


def test_memory_is_bounded_and_what_was_forgotten_is_counted() -> None:
    miner = LogTemplateMiner(MinerLimits(max_templates=40, max_shapes=50))
    letters = "abcdefghijklmnopqrstuvwxyz"
    for first in letters:
        for second in letters[:10]:
            miner.observe(f"{first * 3} says {second * 4} to {first}{second} with {second}{first}")
    assert len(miner.templates) <= 40
    assert miner.num_forgotten > 0


def test_long_lines_and_long_words_are_bounded_together() -> None:
    miner = LogTemplateMiner(MinerLimits(max_words=2_000, max_shape_bytes=50_000))
    words = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(10_000)]
    for number in range(0, 9_000, 90):
        miner.observe(" ".join(words[number : number + 90]))
        miner.observe("x" * 5_000 + words[number])
        assert miner._patterns.size <= 2_000 + 400
        assert sum(map(len, miner._shapes)) <= 50_000 + 10_000
    assert miner.num_forgotten > 100
    assert sum(template.count for template in miner.templates) + miner.num_forgotten == 200


def test_open_places_are_bounded_and_open_again_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_preprocess.log_patterns._MAX_OPEN_WORDS", 400)
    monkeypatch.setattr("edge_preprocess.log_patterns._MANY_SLOTS", 100)
    miner = LogTemplateMiner()
    names = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida")
    for number in range(1, 60):
        for name in names:
            match = miner.observe(f"{'outer ' * number}door opened by {name}")
        assert match.template == f"{'outer ' * number}door opened by <*>"
        assert len(miner._patterns.opened) <= 60
    assert sum(map(len, miner._patterns.opened)) <= 2 * 400
    assert miner.observe("outer door opened by kim").template == "outer door opened by <*>"


def test_words_that_differ_in_their_digits_are_one_variable() -> None:
    miner = LogTemplateMiner()
    matches = [miner.observe(f"radio{number} is ready") for number in (0, 1)]
    assert [match.template for match in matches] == ["<*> is ready"] * 2


def test_a_line_with_other_codes_is_not_taken_for_one_with_the_same_shape() -> None:
    miner = LogTemplateMiner()
    lines = ["from ipv4 to ipv6 again", "from ipv6 to ipv4 again", "from ipv4 to ipv6 again", "from ipv4 to ipv4 again"]
    assert [miner.observe(line).template for line in lines] == lines
    other = ["sha25 used", "sha2 used", "org.v1.Cell up", "org.v2.Cell up"]
    assert [miner.observe(line).template for line in other] == [*other[:3], "<*> up"]


def test_lists_of_identifiers_are_one_variable_whatever_their_length() -> None:
    miner = LogTemplateMiner()
    lines = ["drop blk_1 blk_22 now", "drop blk_3 blk_-4 blk_5 blk_666 now", "drop blk_7 now"]
    matches = [miner.observe(line) for line in lines]
    assert {match.template for match in matches} == {"drop <*> now"}
    assert matches[1].parameters[0].text == "blk_3 blk_-4 blk_5 blk_666"


def test_a_unit_stays_until_it_varies_and_then_belongs_to_its_number() -> None:
    miner = LogTemplateMiner()
    first = miner.observe("block kept in memory, size 4.5 KB, free")
    assert first.template == "block kept in memory, size <*> KB, free"
    second = miner.observe("block kept in memory, size 93.0 MB, free")
    assert first.template == second.template == "block kept in memory, size <*>, free"
    assert second.parameters == ((VariableKind.QUANTITY, "93.0 MB", True),)


@pytest.mark.parametrize(
    ("text", "number"),
    [("-3.31", -3.31), ("0x1f", 31.0), ("57ms", 57.0), ("1e+3", 1000.0), ("10.0.0.8", None), ("1e+999", None)],
)
def test_numbers_come_out_typed(text: str, number: float | None) -> None:
    parameters = LogTemplateMiner().observe(f"value now {text} here").parameters
    assert [parameter.number for parameter in parameters] == [number]


def test_a_word_that_is_free_text_is_no_number() -> None:
    assert LogParameter(VariableKind.WORD, "12").number is None


def test_evidence_in_many_places_at_once_loses_no_line() -> None:
    miner = LogTemplateMiner(evidence=Evidence(num_words=2))
    words = [f"{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(150)]
    for number in range(150):
        miner.observe(" ".join([*words[:number], "other", *words[number + 1 :]]))
    assert miner.observe(" ".join(words)).template == "<*> " + " ".join(words[1:])
    assert sum(template.count for template in miner.templates) == 151


def test_a_word_that_names_an_event_is_never_taken_for_a_variable() -> None:
    miner = LogTemplateMiner()
    for event in ("attach_done", "report_sent", "beacon_seen", "slot_changed", "handover_done"):
        miner.observe(f"level=info event={event} id=5")
    match = miner.observe("level=warn event=battery_low id=6")
    assert miner.observe("level=info event=another id=7").template == "level=info event=<*> id=<*>"
    assert match.counters == (LogCounter.BATTERY_LOW,)


@pytest.mark.parametrize("line", ["<*> KB <*> MB", "a<*>b is here", "<*>.<*>", "<*> up", "x=<*>"])
def test_a_line_that_spells_the_wildcard_is_text_like_any_other(line: str) -> None:
    miner = LogTemplateMiner()
    for text in (line, line.replace("<*>", "7"), line.replace("KB", "GB").replace("<*>", "8")):
        match = miner.observe(text)
        assert all(parameter.text in text for parameter in match.parameters)
    assert [parameter.text for parameter in miner.observe("<*> up").parameters] == ["<*>"]
