"""The most that counts may be: far above any use, and low enough to reckon with."""

from __future__ import annotations

MOST_ROUNDS = 1_000_000
MOST_STEPS = 1_000_000
"""Of a client in a round."""
MOST_TEXTS = 65_536
"""Of a step."""
MOST_TOKENS = 2**20
"""Of a text, where the model names no limit."""
MOST_SEED = 2**32 - 1
