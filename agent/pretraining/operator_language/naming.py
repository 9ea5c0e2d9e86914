"""First lessons: what people call things. A request is a nickname and nothing else, so the link is all to be learned.

Within a thousand steps three of four such riddles are solved. Whole requests that follow make the model forget most
of it again (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.models.operator_grammar import write_symbols
from agent.models.operator_hearing import hear
from agent.models.operator_language import call
from agent.pretraining.examples import Example
from agent.pretraining.operator_language.networks import random_network

_NICKNAME_ODDS = 0.9
_PLAIN_ODDS = 0.1
"""Share of requests whose name is no riddle that are kept, lest the model forget that names are names."""


def naming_examples(num_examples: int, *, seed: int) -> Iterator[Example]:
    """A slice by what it is called and the call that shows it; the same seed gives the same rows."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 2)))
    made = 0
    while made < num_examples:
        network = random_network(rng)
        number = int(rng.integers(1, len(network.slices) + 1))
        text = network.mention(number, rng, nickname_odds=_NICKNAME_ODDS)
        heard = hear(text, cells=network.cells, slices=network.slices)
        is_plain = f"<s{number}>" in heard.prompt.partition("<u>")[2]
        if is_plain and rng.random() > _PLAIN_ODDS:
            continue
        made += 1
        shown = call("network_status", {"slice": number})
        yield Example(prompt=heard.prompt, completion=write_symbols((shown,), heard))
