"""The base and the corpus that the commands' tests share."""

from __future__ import annotations

from tests.finetune_stage import base, corpus

__all__ = ["base", "corpus"]
