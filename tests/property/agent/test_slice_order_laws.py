"""The order in which slices are configured carries no meaning to the model, and answers find their way back."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cell_plan import CellPlan, SlicePlan
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.prompting import needed_share_pct, parse_answer, write_answer, write_prompt
from agent.utility import expected_load
from edge_preprocess.digest import EdgeDigest
from tests.agent_stage import random_case

seeds = st.integers(0, 2**32 - 1)


def moved(digest: EdgeDigest, terms: GoalTerms, order: list[int]) -> tuple[EdgeDigest, GoalTerms]:
    """The same cell with its slices configured in another order."""
    columns = {f.name: getattr(terms, f.name)[order] for f in fields(GoalTerms) if f.name != "energy_weight"}
    return digest.model_copy(update={"slices": tuple(digest.slices[row] for row in order)}), replace(terms, **columns)


def numbered(num_slices: int) -> CellPlan:
    """A plan in which each row of the digest is known by its share."""
    return CellPlan(cell=1, slices=tuple(SlicePlan(min_pct=row) for row in range(num_slices)))


@settings(max_examples=40)
@given(seed=seeds, data=st.data())
def test_slices_configured_in_another_order_give_the_same_prompt(seed: int, data: st.DataObject) -> None:
    digest, terms = random_case(seed)
    order = data.draw(st.permutations(range(len(digest.slices))))
    prompt, other = write_prompt(digest, terms), write_prompt(*moved(digest, terms, list(order)))

    assert other.text == prompt.text
    assert sorted(other.order) == list(range(len(digest.slices)))


@settings(max_examples=40)
@given(seed=seeds, demand_kbps=st.floats(1.0, 1e5))
def test_two_like_slices_that_swap_their_demands_give_the_same_prompt(seed: int, demand_kbps: float) -> None:
    digest, terms = random_case(seed)
    like = digest.slices[0].model_copy(update={"demand_kbps": demand_kbps, "forecast_demand_kbps": demand_kbps})
    rows = (digest.slices[0], like, *digest.slices[2:])
    alike = {f.name: getattr(terms, f.name).copy() for f in fields(GoalTerms) if f.name != "energy_weight"}
    for column in alike.values():
        column[1] = column[0]
    both = replace(terms, **alike)
    first = write_prompt(digest.model_copy(update={"slices": rows}), both)
    swapped = write_prompt(digest.model_copy(update={"slices": (rows[1], rows[0], *rows[2:])}), both)

    assert first.text == swapped.text


@settings(max_examples=40)
@given(seed=seeds)
def test_an_answer_maps_back_to_the_digests_rows(seed: int) -> None:
    digest, terms = random_case(seed)
    prompt = write_prompt(digest, terms)
    plan = numbered(len(digest.slices))
    text = write_answer(plan, prompt.order)

    assert parse_answer(text, prompt) == plan
    # Number n of the answer speaks of the row that stands in line n of the prompt.
    unordered = parse_answer(text, replace(prompt, order=()))
    assert [part.min_pct for part in unordered.slices] == list(prompt.order)


@settings(max_examples=40)
@given(seed=seeds)
def test_the_slice_that_needs_least_stands_first(seed: int) -> None:
    digest, terms = random_case(seed)
    prompt = write_prompt(digest, terms)
    lines = prompt.text.splitlines()[1:-1]
    shown = [int(line.split(" need=")[1].split()[0]) for line in lines]
    needed = needed_share_pct(expected_load(digest, terms), terms.target)

    assert shown == sorted(shown)
    assert shown == needed[list(prompt.order)].tolist()


@settings(max_examples=15)
@given(seed=seeds, data=st.data())
def test_the_same_answer_serves_each_slice_alike_wherever_it_is_configured(seed: int, data: st.DataObject) -> None:
    digest, terms = random_case(seed)
    order = list(data.draw(st.permutations(range(len(digest.slices)))))
    prompt, other = write_prompt(digest, terms), write_prompt(*moved(digest, terms, order))
    text = write_answer(plan_cell(digest, terms), prompt.order)
    here, there = parse_answer(text, prompt), parse_answer(text, other)
    lines = prompt.text.splitlines()[1:-1]
    # Rows that the prompt shows alike are interchangeable; all others must get the very same part.
    if len({line.partition(" ")[2] for line in lines}) == len(lines):
        assert there.slices == tuple(here.slices[row] for row in order)
