"""Answers in the making: whatever a model prefers, what comes out is valid and within budget."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from agent.errors import ModelUnavailable
from agent.models.answer_state import AnswerState, read_grammar
from agent.models.vocabulary import Vocabulary, read_vocabulary
from agent.pretraining.examples import random_example
from agent.pretraining.tokenizer import END, PAD
from agent.prompting import Prompt, answer_schema, parse_answer
from tests.agent_stage import fast_tokenizer, small_tokenizer


def _byte_pairs(pattern: str, vocab_size: int) -> Tokenizer:
    """A byte-level tokenizer with another idea of where pieces end."""
    rng = np.random.default_rng(9)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([random_example(rng).completion for _ in range(40)], trainer)
    return tokenizer


@cache
def vocabulary(kind: str) -> Vocabulary:
    """Ours; one that spells numbers by digit; one whose tokens run across keys, colons and numbers."""
    made = {
        "own": small_tokenizer,
        "digits": lambda: _byte_pairs(r"\d|[^\d]+", 400),
        "tangled": lambda: _byte_pairs(r"[^}]+|\}", 600),
    }[kind]()
    return read_vocabulary(fast_tokenizer(made))


def write_at_random(kind: str, num_slices: int, seed: int, *, is_greedy: bool = False) -> str:
    """An answer by a writer without any sense; a greedy one takes the largest number it may."""
    rng = np.random.default_rng(seed)
    known = vocabulary(kind)
    state = AnswerState(known, read_grammar(known, answer_schema(num_slices)))
    state.forced()
    for _ in range(2000):
        if state.is_done:
            return state.text
        scores = 10.0 * rng.random(len(known.texts))
        if is_greedy:
            wanted = scores + known.leading_value.clip(max=1000)
            state.take(int(np.argmax(np.where(state.allowed(), wanted, -1.0))))
        else:
            state.take(state.choose(scores))
        if not state.is_done:
            state.forced()
    raise AssertionError(f"not done after 2000 tokens: {state.text[-80:]!r}")


@pytest.mark.parametrize("kind", ["own", "digits", "tangled"])
@pytest.mark.parametrize("num_slices", [1, 2, 5, 8])
@pytest.mark.parametrize("is_greedy", [False, True])
def test_any_writer_with_any_tokenizer_stays_valid_and_within_budget(
    kind: str, num_slices: int, is_greedy: bool
) -> None:
    for seed in range(3):
        text = write_at_random(kind, num_slices, seed, is_greedy=is_greedy)
        plan = parse_answer(text, Prompt(cell=1, text="", num_slices=num_slices))

        assert plan.is_within_budget


def test_the_tangled_tokenizer_really_hides_numbers_in_its_tokens() -> None:
    assert vocabulary("tangled").hides_number.any()
    assert not vocabulary("own").hides_number.any()


def test_whole_numbers_are_recognised() -> None:
    own = vocabulary("own")

    assert own.number_ids is not None
    assert [own.texts[token] for token in own.number_ids] == [str(number) for number in range(101)]
    assert vocabulary("digits").number_ids is None


def test_digits_at_the_start_of_a_token_are_read() -> None:
    known = vocabulary("own")
    token = known.texts.index("87")

    assert known.leading_value[token] == 87
    assert known.leading_length[token] == 2
    assert known.starts_with_digit[token]
    assert not known.starts_with_digit[known.texts.index(":")]


def test_a_token_that_breaks_the_grammar_is_refused() -> None:
    known = vocabulary("own")
    state = AnswerState(known, read_grammar(known, answer_schema(2)))

    with pytest.raises(ModelUnavailable, match="breaks the grammar"):
        state.take(known.texts.index("87"))


def test_a_schema_that_is_no_grammar_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="grammar refused"):
        read_grammar(vocabulary("own"), {"type": "nonsense"})


def _first_share(weights: dict[int, float]) -> int:
    """The first share of an answer by a model that gives numbers these weights."""
    own = vocabulary("own")
    assert own.number_ids is not None
    state = AnswerState(own, read_grammar(own, answer_schema(2)))
    assert state.forced()
    logits = np.full(len(own.texts), -50.0)
    for number, weight in weights.items():
        logits[own.number_ids[number]] = np.log(weight)
    return int(own.texts[state.choose(logits)])


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        ({20: 0.2, 22: 0.5, 30: 0.3}, 22),
        ({0: 0.4, 1: 0.2, 24: 0.1, 25: 0.3}, 0),
        ({0: 0.3, 1: 0.15, 24: 0.2, 25: 0.25, 26: 0.1}, 25),
        ({0: 0.1, 1: 0.5, 2: 0.4}, 1),
        ({1: 0.1, 2: 0.3, 3: 0.3, 4: 0.3}, 3),
        ({100: 1.0}, 100),
    ],
)
def test_nothing_is_a_share_of_its_own_and_others_are_the_median(weights: dict[int, float], share: int) -> None:
    assert _first_share(weights) == share


def test_answers_under_one_grammar_are_written_apart():
    own = vocabulary("own")
    grammar = read_grammar(own, answer_schema(2))
    first = AnswerState(own, grammar)
    first.forced()
    while not first.is_done:
        first.take(first.choose(np.zeros(len(own.texts))))
        if not first.is_done:
            first.forced()
    second = AnswerState(own, grammar)
    assert second.text == ""
    assert not second.is_done
    second.forced()
    assert first.text.startswith(second.text)
    assert second.allowed().any()
