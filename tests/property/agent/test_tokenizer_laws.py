"""Laws of the policy model's tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from agent.optimiser import plan_cell
from agent.pretraining.tokenizer import END, PAD, save_tokenizer, train_tokenizer
from agent.prompting import parse_answer, write_answer, write_prompt
from tests.agent_stage import random_case, small_tokenizer

NUMBERS = (*range(1000), *range(-20, 0))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Made before the first law is timed: training it takes a second."""
    return small_tokenizer()


@given(text=st.text(max_size=80))
def test_any_text_survives_encoding(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@given(data=st.binary(max_size=80))
def test_any_bytes_survive_encoding(tokenizer: Tokenizer, data: bytes) -> None:
    # Bytes that are no text of their own arrive as the characters of those numbers.
    text = data.decode("latin-1")

    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False).encode("latin-1") == data


def test_every_number_that_a_prompt_or_plan_can_hold_is_one_token_of_its_own(tokenizer: Tokenizer) -> None:
    tokens = [tokenizer.encode(str(number)).ids for number in NUMBERS]

    assert {len(ids) for ids in tokens} == {1}
    assert len({ids[0] for ids in tokens}) == len(NUMBERS)


@given(number=st.sampled_from(NUMBERS[:1000]), before=st.sampled_from(["w=", "need=", '{"1":{"min":', '"cpu":', ","]))
def test_a_number_is_the_same_token_wherever_it_stands(tokenizer: Tokenizer, number: int, before: str) -> None:
    assert tokenizer.encode(before + str(number)).ids[-1] == tokenizer.token_to_id(str(number))


@given(seed=st.integers(0, 2**32 - 1))
def test_a_prompt_and_its_answer_survive_and_keep_numbers_whole(tokenizer: Tokenizer, seed: int) -> None:
    digest, terms = random_case(seed)
    prompt = write_prompt(digest, terms)
    plan = plan_cell(digest, terms)
    answer = write_answer(plan, prompt.order)

    assert tokenizer.decode(tokenizer.encode(prompt.text).ids) == prompt.text
    assert parse_answer(tokenizer.decode(tokenizer.encode(answer).ids), prompt).slices == plan.slices
    for piece in tokenizer.encode(prompt.text + answer).tokens:
        assert piece.lstrip("-").isdigit() or not any(character.isdigit() for character in piece)


def test_end_and_padding_are_tokens_that_no_prompt_or_answer_holds(tokenizer: Tokenizer) -> None:
    special = {tokenizer.token_to_id(END), tokenizer.token_to_id(PAD)}
    digest, terms = random_case(5)
    text = write_prompt(digest, terms).text + write_answer(plan_cell(digest, terms))

    assert len(special) == 2
    assert None not in special
    assert not special & set(tokenizer.encode(text).ids)


def test_equal_texts_train_equal_tokenizers() -> None:
    texts = ["cell load=12", '{"1":{"min":4}}']

    assert train_tokenizer(texts).to_str() == train_tokenizer(texts).to_str()


def test_a_vocabulary_without_room_for_the_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vocab_size 600 is too small: \d+ numbers have no token"):
        train_tokenizer(["cell load=12"], vocab_size=600)


def test_a_saved_tokenizer_reads_as_the_same(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(tokenizer, folder)
    read = AutoTokenizer.from_pretrained(str(folder))
    text = write_prompt(*random_case(3)).text

    assert read.encode(text) == tokenizer.encode(text).ids
    assert (read.eos_token, read.pad_token) == (END, PAD)
