"""Training examples: phrasings filled for random networks, dressed as people write, never one of the held-out ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.models.operator_language import write_calls, write_prompt
from agent.pretraining.examples import Example
from agent.pretraining.operator_language.networks import Network, random_network
from agent.pretraining.operator_language.phrasebook import (
    FOLDER,
    Focus,
    Phrasing,
    Utterance,
    fill,
    read_phrasings,
    skeleton,
)

_BOOKS = ("looking.txt", "acting.txt", "several.txt")
_BEFORE = (
    "please", "hey ,", "hi ,", "hello ,", "ok ,", "so ,", "now", "can you", "could you", "pls", "well ,", "and",
    "also ,", "quick one :", "i'd like to know :", "good morning .", "next :", "then", "actually ,",
    "sorry , i meant", "right .", "just", "could you please", "would you", "i want you to", "be so kind and",
    "thanks . now", "good .", "hmm ,",
)  # fmt: skip
_AFTER = (
    "please", "pls", "thanks", "?", "!", ".", "now", "right now", "thx", "for me", "asap", "if you can", "today",
    "then", "at once", "quickly", ", thank you", "?!", "mate", "again", "in short", ", be brief", "once more",
    "ok ?",
)  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_FAMILY_WEIGHT = {"decline": 3.0, "ask": 1.6, "propose_plan": 1.3, "network_status": 1.2}


def training_phrasings() -> tuple[Phrasing, ...]:
    """Every phrasing that may be learned from."""
    return tuple(phrasing for book in _BOOKS for phrasing in read_phrasings(FOLDER / book))


def held_out_skeletons() -> frozenset[str]:
    return frozenset(skeleton(phrasing.text) for phrasing in read_phrasings(FOLDER / "held_out.txt"))


def operator_examples(num_examples: int, *, seed: int) -> Iterator[Example]:
    """Prompt and calls; the same seed gives the same rows."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    phrasings, refused = training_phrasings(), held_out_skeletons()
    odds = _odds(phrasings)
    made = 0
    while made < num_examples:
        phrasing = phrasings[rng.choice(len(phrasings), p=odds)]
        network = random_network(rng)
        focus = _random_focus(phrasing, network, rng)
        said = fill(phrasing, network, focus, rng)
        if said.skeleton in refused:
            continue
        made += 1
        yield _example(said, network, focus, rng)


def _odds(phrasings: Sequence[Phrasing]) -> NDArray[np.float64]:
    """Every tool equally often up to a square root of its number of phrasings, every phrasing of it alike."""
    families = [phrasing.family for phrasing in phrasings]
    counts = {family: families.count(family) for family in families}
    weight = np.array([_FAMILY_WEIGHT.get(f, 1.0) * counts[f] ** -0.5 for f in families])
    odds: NDArray[np.float64] = weight / weight.sum()
    return odds


def _random_focus(phrasing: Phrasing, network: Network, rng: np.random.Generator) -> Focus:
    """What was spoken of before; always known where the phrasing refers to it, never where it should be asked for."""
    if phrasing.family == "ask" and any(value != "request" for _, fixed in phrasing.calls for _, value in fixed):
        return Focus()
    is_needed = "<C>" in phrasing.text or "<S>" in phrasing.text
    known = rng.random(3) < 0.5
    return Focus(
        cell=int(rng.choice(network.cells)) if known[0] or is_needed else None,
        slice=int(rng.integers(1, len(network.slices) + 1)) if known[1] or is_needed else None,
        version=int(rng.integers(1, 60)) if known[2] else None,
    )


def _example(said: Utterance, network: Network, focus: Focus, rng: np.random.Generator) -> Example:
    text = _dress(said.text, network, rng)
    prompt = write_prompt(text, network.slices, cell=focus.cell, slice_number=focus.slice, plan=focus.version)
    return Example(prompt=prompt, completion=write_calls(said.calls))


def _dress(text: str, network: Network, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        text = f"{_BEFORE[rng.integers(len(_BEFORE))]} {text}"
    if rng.random() < 0.3:
        text = f"{text} {_AFTER[rng.integers(len(_AFTER))]}"
    if rng.random() < 0.15:
        text = _mistype(text, network, rng)
    return text


def _mistype(text: str, network: Network, rng: np.random.Generator) -> str:
    """One slip of the finger in a long word that names no slice."""
    words = text.split(" ")
    named = " ".join(network.slices)
    places = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha() and word not in named]
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
