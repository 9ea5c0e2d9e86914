"""Training examples: phrasings filled for random networks, dressed as people write, never one of the held-out ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.models.operator_grammar import write_symbols
from agent.models.operator_hearing import NUMBER_WORDS, hear, normal_text
from agent.pretraining.examples import Example
from agent.pretraining.operator_language.held_out import read_held_out
from agent.pretraining.operator_language.networks import Network, random_network
from agent.pretraining.operator_language.phrasebook import (
    FOLDER,
    Focus,
    Phrasing,
    Utterance,
    fill,
    read_phrasings,
    read_words,
    skeleton,
)

_BOOKS = ("looking.txt", "acting.txt", "several.txt", "refusing.txt", "idioms.txt")
_PAIRS = "lookalikes.txt"
"""Requests that differ by a word or two and mean something else: floors beside caps, questions beside orders."""
_PAIRS_ODDS = 0.15
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FAMILY_WEIGHT = {
    "decline": 4.4,
    "ask": 1.6,
    "set_goal": 3.6,
    "propose_plan": 1.2,
    "network_status": 1.6,
    "what_if_demand": 1.4,
}
_SEQUELS = {
    "network_status": ("propose_plan", "show_history", "search_incidents", "find_worst", "write_report", "list_goals"),
    "find_worst": ("propose_plan", "search_incidents"),
    "what_if_down": ("propose_plan", "compare_planners"),
    "what_if_demand": ("propose_plan", "compare_planners"),
    "what_if_share": ("propose_plan",),
    "propose_plan": ("show_diff", "compare_planners", "request_approval", "apply_plan"),
    "show_diff": ("request_approval", "apply_plan"),
    "approve_plan": ("apply_plan",),
    "apply_plan": ("network_status", "show_history", "write_report"),
    "roll_back": ("network_status", "propose_plan", "show_history", "write_report"),
    "reject_plan": ("propose_plan",),
    "set_goal": ("propose_plan", "list_goals", "network_status"),
    "clear_goals": ("propose_plan", "network_status"),
    "list_goals": ("network_status", "propose_plan"),
    "search_incidents": ("write_report", "propose_plan"),
    "show_history": ("write_report", "network_status"),
    "compare_planners": ("propose_plan",),
}
"""What people ask for in the same breath after something else."""
_JOINTS = (
    "and", "and then", ", then", "; then", ",", "and also", "and after that", ". then", ".", "plus", ", afterwards",
    ", and", "and please", ", and then", "; also",
)  # fmt: skip
_SEQUEL_ODDS = 0.08
_BEFORE_ODDS, _AFTER_ODDS, _SLIP_ODDS = 0.3, 0.3, 0.2
_TERSE_ODDS, _DROPPED_ODDS, _FILLER_ODDS = 0.15, 0.6, 0.15
_SMALL_WORDS = frozenset({"the", "a", "an", "of", "that", "is", "are", "please", "to", "do", "does", "will", "would"})
"""Words that a terse operator leaves out."""
_ASKING = frozenset({"is", "are", "do", "does", "will", "would"})
_FILLERS = (
    "just", "really", "basically", "kind of", "sort of", "actually", "maybe", "somehow", "like", "er", "uh", "please",
    "perhaps", "simply", "quickly", "again", "honestly", "by the way", "you know", "i guess", "say", "for once",
)  # fmt: skip
_FILLER_PLACES = frozenset({"the", "in", "at", "for", "with", "and", "if", "is", "are", "our", "you", "we", "it"})
"""Words before which a talkative one puts others that mean nothing."""


def training_phrasings() -> tuple[Phrasing, ...]:
    """Every phrasing that may be learned from."""
    return tuple(phrasing for book in (*_BOOKS, _PAIRS) for phrasing in read_phrasings(FOLDER / book))


def held_out_skeletons() -> frozenset[str]:
    return frozenset(skeleton(phrasing.text) for phrasing in read_phrasings(FOLDER / "held_out.txt"))


def validation_skeletons() -> frozenset[str]:
    """Phrasings on which the least confidence is chosen; one that was learned would make it too low."""
    return frozenset(skeleton(phrasing.text) for phrasing in read_phrasings(FOLDER / "validation.txt"))


def operator_examples(num_examples: int, *, seed: int) -> Iterator[Example]:
    """Prompt and calls; the same seed gives the same rows."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    phrasings, refused = training_phrasings(), held_out_skeletons() | validation_skeletons()
    refused_texts = frozenset(normal_text(case.text) for case in read_held_out())
    words = read_words(FOLDER / "words.txt")
    starts = np.cumsum(_odds(phrasings, num_pairs=len(read_phrasings(FOLDER / _PAIRS))))
    sequels = _short_ones(phrasings)
    made = 0
    while made < num_examples:
        phrasing = phrasings[min(int(np.searchsorted(starts, rng.random())), len(phrasings) - 1)]
        if rng.random() < _SEQUEL_ODDS:
            phrasing = _with_sequel(phrasing, sequels, rng)
        network = random_network(rng)
        focus = _random_focus(phrasing, network, rng)
        said = fill(phrasing, network, focus, rng)
        text = _dress(said.text, network, words, rng)
        if said.skeleton in refused or normal_text(said.text) in refused_texts or normal_text(text) in refused_texts:
            continue
        try:
            row = example(said, text, network, focus)
        except ValueError:  # A slip made a name or number something else; no one could read it.
            continue
        made += 1
        yield row


def example(said: Utterance, text: str, network: Network, focus: Focus) -> Example:
    """What the model reads and what it should answer."""
    heard = hear(
        text,
        cells=network.cells,
        slices=network.slices,
        cell=focus.cell,
        slice_number=focus.slice,
        has_plan=focus.version is not None,
    )
    return Example(prompt=heard.prompt, completion=write_symbols(said.calls, heard))


def _odds(phrasings: Sequence[Phrasing], *, num_pairs: int) -> NDArray[np.float64]:
    """Every tool equally often up to a square root of its number of phrasings, every phrasing of it alike.

    The last `num_pairs`, those that look alike, are drawn apart, each equally often.
    """
    families = [phrasing.family for phrasing in phrasings[: len(phrasings) - num_pairs]]
    counts = {family: families.count(family) for family in families}
    weight = np.array([_FAMILY_WEIGHT.get(f, 1.0) * counts[f] ** -0.5 for f in families])
    pairs = np.full(num_pairs, _PAIRS_ODDS / num_pairs)
    odds: NDArray[np.float64] = np.concatenate([(1.0 - _PAIRS_ODDS) * weight / weight.sum(), pairs])
    return odds


def _short_ones(phrasings: Sequence[Phrasing]) -> dict[str, tuple[Phrasing, ...]]:
    """Phrasings of each tool that name nothing, so that whatever was named belongs to the request before."""
    plain = [phrasing for phrasing in phrasings if "<" not in phrasing.text and len(phrasing.calls) == 1]
    return {
        tool: tuple(phrasing for phrasing in plain if phrasing.family == tool)
        for tool in {tool for tools in _SEQUELS.values() for tool in tools}
    }


def _with_sequel(first: Phrasing, sequels: dict[str, tuple[Phrasing, ...]], rng: np.random.Generator) -> Phrasing:
    """Two requests in one sentence, where they go together."""
    tools = _SEQUELS.get(first.family, ())
    if not tools:
        return first
    options = sequels[tools[rng.integers(len(tools))]]
    second = options[rng.integers(len(options))]
    joint = _JOINTS[rng.integers(len(_JOINTS))]
    return Phrasing(text=f"{first.text} {joint} {second.text}", calls=first.calls + second.calls)


def _random_focus(phrasing: Phrasing, network: Network, rng: np.random.Generator) -> Focus:
    """What was spoken of before; always known where the phrasing refers to it, never where it should be asked for."""
    about = {value for _, fixed in phrasing.calls for name, value in fixed if name == "about"}
    known = rng.random(3) < 0.6
    may_be = {
        "cell": "cell" not in about or "<z>" in phrasing.text,
        "slice": "slice" not in about or "<x>" in phrasing.text,
    }
    has_cell = may_be["cell"] and (known[0] or "<C>" in phrasing.text or "<I>" in phrasing.text)
    has_slice = may_be["slice"] and ((known[1] and len(network.slices) > 2) or "<S>" in phrasing.text)
    return Focus(
        cell=int(rng.choice(network.cells)) if has_cell else None,
        slice=int(rng.integers(1, len(network.slices) + 1)) if has_slice else None,
        version=int(rng.integers(1, 60)) if known[2] else None,
    )


def _dress(text: str, network: Network, words: dict[str, str], rng: np.random.Generator) -> str:
    """The text with politeness around it, words left out or added, and slips of the finger in it."""
    if rng.random() < _TERSE_ODDS:
        text = _with_fewer_words(text, rng)
    if rng.random() < _BEFORE_ODDS:
        text = f"{_one_of(words['before'], rng)} {text}"
    if rng.random() < _AFTER_ODDS:
        text = f"{text} {_one_of(words['after'], rng)}"
    if rng.random() < _FILLER_ODDS:
        text = _with_filler(text, rng)
    while rng.random() < _SLIP_ODDS:
        text = _mistype(text, network, rng)
    return text


def _with_fewer_words(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    return " ".join(
        word for place, word in enumerate(words) if _is_needed(words, place) or rng.random() > _DROPPED_ODDS
    )


def _is_needed(words: Sequence[str], place: int) -> bool:
    """A question without its first word would be an order, and `to 10 %` without its `to` is by 10 %."""
    word, following = words[place], "".join(words[place + 1 : place + 2])
    is_asking = place == 0 and word in _ASKING
    is_told_of_a_number = following[:1].isdigit() or following in NUMBER_WORDS
    return is_asking or is_told_of_a_number or word not in _SMALL_WORDS


def _with_filler(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if word in _FILLER_PLACES]
    if places:
        words.insert(places[rng.integers(len(places))], _FILLERS[rng.integers(len(_FILLERS))])
    return " ".join(words)


def _one_of(words: str, rng: np.random.Generator) -> str:
    options = words.strip("{}").split("|")
    return options[rng.integers(len(options))]


def _mistype(text: str, network: Network, rng: np.random.Generator) -> str:
    """One slip of the finger in a long word that names no slice and is no number."""
    words = text.split(" ")
    named = " ".join(network.slices)
    places = [
        i
        for i, word in enumerate(words)
        if len(word) > 3 and word.isalpha() and word not in named and word not in NUMBER_WORDS
    ]
    if not places:
        return text
    place = places[rng.integers(len(places))]
    word = words[place]
    at = int(rng.integers(1, len(word) - 1))
    slips = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at] + word[at:],
        word[:at] + _LETTERS[rng.integers(26)] + word[at + 1 :],
    )
    words[place] = slips[rng.integers(len(slips))]
    return " ".join(words)
