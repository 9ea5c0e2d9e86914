"""The parts of replay: the peer's unit, drift, reading ahead, cutting a recording, acknowledging."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from agent.cell_plan import CellPlan, SlicePlan
from agent.errors import AgentInputInvalid, ModelUnavailable, PolicyInvalid, PolicyRejected
from agent.models.port import Answer
from agent.policy import SchedulingPolicy
from agent.prompting import Prompt
from agent.replay.answer_journal import AnswerJournal
from agent.replay.decisions_file import DecisionRow, Decisions, DecisionsHeader
from agent.replay.drift import describe_drift, find_drift, parse_tolerances
from agent.replay.peer import agreement, groups_of, peer_decision_at, peer_groups, peer_plan
from agent.replay.read_ahead import ReadAheadModel
from agent.replay.recording_dispatcher import RecordingDispatcher
from agent.replay.source import Cadence, RecordedSource, cadence_of
from agent.replay.what_if import as_it_came, try_plan
from agent.twin import Twin
from telemetry_sim.actions import CellAction, Scheduler
from telemetry_sim.topology import Topology
from telemetry_sim.traces import PeerDecision, open_trace
from tests.replay_stage import EXPLORA, OWN, SCOPE

HEADER = DecisionsHeader(
    format="scope", slices=("embb", "urllc"), interval_s=10.0, is_per_state=False, planner="p", model=None, seed=1
)


def peer(time_s: float = 1.0, prb: tuple[int, ...] = (36, 3, 11), schedulers: str = "rr wf pf") -> PeerDecision:
    return PeerDecision(time_s=time_s, slice_prb=prb, schedulers=tuple(schedulers.split()), reward=0.0)


def plan(*shares: int, schedulers: str = "rr pf pf") -> CellPlan:
    return CellPlan(
        cell=1,
        slices=tuple(
            SlicePlan(min_pct=share, scheduler=Scheduler(name))
            for share, name in zip(shares, schedulers.split(), strict=True)
        ),
    )


def row(interval: int = 0, cell: int = 1, **changes: object) -> DecisionRow:
    part = {"min_pct": 50, "scheduler": "pf", "compute_pct": 0, "tier": "edge", "report_interval_s": 1}
    document = {
        "interval": interval,
        "cell": cell,
        "time_s": 10.0 * interval + 10.0,
        "source": "model",
        "tx_power_step_db": 0,
        "reasons": ["steady"],
        "slices": {"embb": part, "urllc": {**part, **changes}},
    }
    return DecisionRow.model_validate(document)


def test_prbs_become_groups_and_exact_percents() -> None:
    assert peer_groups(peer(prb=(36, 3, 11))) == (12, 1, 4)
    assert sum(peer_groups(peer(prb=(2, 24, 24)))) == 17
    converted = peer_plan(peer(), 7)
    assert converted.cell == 7
    assert [part.min_pct for part in converted.slices] == [72, 6, 22]
    assert [part.scheduler.value for part in converted.slices] == ["rr", "pf", "pf"]


@pytest.mark.parametrize("shares", [(72, 6, 22), (0, 0, 0), (100, 0, 0), (33, 33, 33), (1, 1, 1)])
def test_our_shares_always_fill_seventeen_groups(shares: tuple[int, ...]) -> None:
    assert sum(groups_of(plan(*shares))) == 17


def test_agreement_counts_what_it_says() -> None:
    found = agreement([plan(72, 6, 22), plan(60, 18, 22)], [peer(), peer()])
    assert found is not None
    # The second plan has 10, 3 and 4 groups against 12, 1 and 4.
    assert found.num_states == 2
    assert found.mean_abs_groups == pytest.approx(4 / 6)
    assert found.exact_pct == pytest.approx(400 / 6)
    assert found.exact_states_pct == 50.0
    assert found.within_one_pct == pytest.approx(400 / 6)
    assert found.scheduler_pct == 100.0
    assert found.correlation == pytest.approx(np.corrcoef([12, 1, 4, 10, 3, 4], [12, 1, 4, 12, 1, 4])[0, 1])
    assert found.correlation_per_slice == (None, None, None)


def test_earliest_deadline_first_never_agrees_with_a_peer_that_has_none() -> None:
    found = agreement([plan(72, 6, 22, schedulers="edf edf edf")], [peer()])
    assert found is not None
    assert found.scheduler_pct == 0.0


def test_a_peer_decides_on_a_state_until_the_next_one() -> None:
    decisions = [peer(1.2), peer(1.7), peer(2.0)]
    assert peer_decision_at(decisions, 1.0, 2.0) == (decisions[0], 2)
    assert peer_decision_at(decisions, 2.0, 3.0) == (decisions[2], 1)
    assert peer_decision_at(decisions, 3.0, float("inf")) == (None, 0)


def test_drift_names_interval_cell_slice_and_field() -> None:
    expected = Decisions(header=HEADER, rows=(row(0), row(1, min_pct=40, tier="cloud")))
    drifts = find_drift((row(0), row(1, min_pct=43)), expected, {})
    assert [str(one) for one in drifts] == [
        "interval 1, cell 1, slice urllc: min_pct is 43, expected 40",
        "interval 1, cell 1, slice urllc: tier is edge, expected cloud",
    ]
    assert "1 of 2 decisions differ from a.jsonl" in describe_drift(drifts, 2, "a.jsonl")


@pytest.mark.parametrize(("tolerance", "num_drifts"), [("2", 1), ("3", 0), ("2.9", 1), ("any", 0)])
def test_a_tolerance_covers_its_own_field_up_to_its_value(tolerance: str, num_drifts: int) -> None:
    expected = Decisions(header=HEADER, rows=(row(min_pct=40),))
    tolerances = parse_tolerances([f"min_pct={tolerance}"])
    assert len(find_drift((row(min_pct=43),), expected, tolerances)) == num_drifts
    assert len(find_drift((row(min_pct=37),), expected, tolerances)) == num_drifts
    assert find_drift((row(min_pct=40, compute_pct=1),), expected, tolerances)[0].field == "compute_pct"


def test_missing_and_unexpected_decisions_are_drift() -> None:
    found = find_drift((row(0), row(2)), Decisions(header=HEADER, rows=(row(0), row(1))), {})
    assert [str(one) for one in found] == [
        "interval 1, cell 1: a decision was expected, the replay has none",
        "interval 2, cell 1: the replay has a decision, none was expected",
    ]
    assert not find_drift((row(0),), Decisions(header=HEADER, rows=(row(0), row(1))), {}, limit=1)


def test_a_long_diff_is_cut_and_says_so() -> None:
    ours, theirs = [row(i) for i in range(50)], tuple(row(i, min_pct=1) for i in range(50))
    told = describe_drift(find_drift(ours, Decisions(header=HEADER, rows=theirs), {}), 50, "a.jsonl")
    assert "50 of 50" in told
    assert told.endswith("… and 30 more differences")


class CountingModel:
    """Answers with the prompt's own text; fails while it is away."""

    name = "counting"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.is_away = False

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        self.batches.append(len(prompts))
        if self.is_away:
            raise ModelUnavailable("on holiday")
        return tuple(Answer(text=p.text.upper(), num_tokens=1, num_sampled=1) for p in prompts)


def prompts(*texts: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(cell=1, text=text, num_slices=1) for text in texts)


def test_equal_prompts_are_asked_once_and_answered_in_order() -> None:
    model = CountingModel()
    ahead = ReadAheadModel(model)
    ahead.fetch(prompts("a", "b", "a"))
    ahead.fetch(prompts("b", "c"))
    assert model.batches == [2, 1]
    assert [answer.text for answer in ahead.answer(prompts("c", "a", "b", "a"))] == ["C", "A", "B", "A"]


def test_what_could_not_be_fetched_fails_with_its_reason_and_may_come_later() -> None:
    model = CountingModel()
    ahead = ReadAheadModel(model)
    model.is_away = True
    ahead.fetch(prompts("a"))
    with pytest.raises(ModelUnavailable, match="on holiday"):
        ahead.answer(prompts("a"))
    model.is_away = False
    ahead.fetch(prompts("a"))
    assert ahead.answer(prompts("a"))[0].text == "A"
    assert (ahead.num_failed, ahead.num_asked) == (1, 2)


def test_answers_kept_in_a_journal_are_not_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first, second = CountingModel(), CountingModel()
    ReadAheadModel(first, AnswerJournal(path, model="m")).fetch(prompts("a", "b"))
    # Killed while it wrote a third line.
    path.write_text(path.read_text() + '{"prompt": "c')
    ahead = ReadAheadModel(second, AnswerJournal(path, model="m"))
    assert ahead.knows(prompts("b", "a"))
    assert not ahead.knows(prompts("a", "c"))
    ahead.fetch(prompts("a", "b", "c"))
    assert (first.batches, second.batches) == ([2], [1])
    assert [answer.text for answer in ahead.answer(prompts("c", "a"))] == ["C", "A"]
    assert len(AnswerJournal(path, model="m")) == 3


@pytest.mark.parametrize("content", ["not json\n", "[1, 2]\n", '{"kind": "other"}\n', "\xff\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(AgentInputInvalid, match=r"--resume .*answers"):
        AnswerJournal(path, model="m")
    assert path.read_bytes() == content.encode("latin-1")


def test_a_journal_with_its_header_alone_keeps_it_even_without_a_line_end(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    AnswerJournal(path, model="m")
    path.write_text(path.read_text().rstrip("\n"))
    ReadAheadModel(CountingModel(), AnswerJournal(path, model="m")).fetch(prompts("a"))
    assert len(AnswerJournal(path, model="m")) == 1


def test_a_journal_of_another_model_is_refused(tmp_path: Path) -> None:
    AnswerJournal(tmp_path / "answers.jsonl", model="one")
    with pytest.raises(AgentInputInvalid, match="expected answers of"):
        AnswerJournal(tmp_path / "answers.jsonl", model="another")


def policy(version: int, cell: int) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=version,
        parent_version=version - 1,
        planner="p",
        valid_from_s=0.0,
        valid_until_s=1.0,
        actions=(CellAction(cell=cell),),
    )


@pytest.fixture(scope="module")
def two_cells() -> Topology:
    return open_trace(OWN).topology


def test_every_named_cell_acknowledges_and_keeps_its_version(two_cells: Topology) -> None:
    dispatcher = RecordingDispatcher(two_cells)
    assert dispatcher.dispatch(policy(1, 1)).is_enforced
    assert dispatcher.dispatch(policy(2, 2)).is_enforced
    assert [(state.cell, state.reported_version) for state in dispatcher.states()] == [(1, 1), (2, 2)]
    assert dispatcher.reconcile() is None


def test_stale_and_foreign_policies_are_refused(two_cells: Topology) -> None:
    dispatcher = RecordingDispatcher(two_cells)
    dispatcher.dispatch(policy(2, 1))
    with pytest.raises(PolicyRejected, match="older than 2"):
        dispatcher.dispatch(policy(1, 1))
    with pytest.raises(PolicyInvalid, match="cell 99"):
        dispatcher.dispatch(policy(3, 99))


def test_a_recording_is_cut_by_state_where_a_peer_decided() -> None:
    trace = open_trace(EXPLORA)
    cadence = cadence_of(trace, None)
    assert cadence.is_per_state
    source = RecordedSource(trace, cadence)
    found = []
    while (telemetry := source.next_interval(1.0)) is not None:
        found.append(telemetry)
    assert [len(one.frames) for one in found] == [1] * trace.summary.num_frames
    assert cadence_of(trace, 5.0) == Cadence(interval_s=5.0, is_per_state=False)
    assert cadence_of(open_trace(SCOPE), None) == Cadence(interval_s=10.0, is_per_state=False)


@pytest.mark.parametrize("is_per_state", [False, True])
def test_every_frame_and_line_comes_once_and_in_order(is_per_state: bool) -> None:
    trace = open_trace(OWN)
    source = RecordedSource(trace, Cadence(interval_s=7.0, is_per_state=is_per_state))
    frames, logs = [], []
    while (telemetry := source.next_interval(7.0)) is not None:
        frames += [frame.time_s for frame in telemetry.frames]
        logs += list(telemetry.logs)
        assert all(line.time_s <= telemetry.frames[-1].time_s for line in telemetry.logs)
    assert frames == [frame.time_s for frame in trace.frames()]
    assert logs == list(trace.logs())


def test_hindsight_takes_the_demand_that_came() -> None:
    from agent.pretraining.examples import random_digest, random_terms

    rng = np.random.default_rng(8)
    digest = random_digest(rng)
    terms = random_terms(rng, digest)
    shares = [100 // len(digest.slices)] * len(digest.slices)
    even = plan(*shares, schedulers=" ".join(["pf"] * len(shares)))
    calm = digest.model_copy(
        update={
            "slices": tuple(one.model_copy(update={"demand_kbps": 0.0, "tasks_per_s": 0.0}) for one in digest.slices)
        }
    )
    assert as_it_came(calm).slices[0].forecast_demand_kbps == 0.0
    found = try_plan(even, digest, terms, Twin(), calm)
    assert found.hindsight is not None
    assert found.hindsight >= found.foreseen
    assert try_plan(even, digest, terms, Twin(), None).hindsight is None


@pytest.mark.parametrize("text", ["", "=", "min_pct", "min_pct=", "min_pct=inf", "scheduler=1"])
def test_a_tolerance_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AgentInputInvalid, match="expected FIELD=VALUE"):
        parse_tolerances([text])


@pytest.mark.parametrize("text", ["x", "colour", "=5"])
def test_a_tolerance_without_a_field_and_a_value_is_asked_for_both(text: str) -> None:
    with pytest.raises(AgentInputInvalid, match="expected FIELD=VALUE; fields are min_pct, ") as error:
        parse_tolerances([text])
    assert "unknown" not in str(error.value)
    with pytest.raises(AgentInputInvalid, match="field 'colour' is unknown; fields are min_pct, "):
        parse_tolerances(["colour=1"])
