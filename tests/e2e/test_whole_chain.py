"""The whole chain: sites' corpora, split federated fine-tuning of a base that saw no site, both side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.bootstrap import EMBEDDED_WEIGHTS

_EDGEWRIGHT = Path(sys.executable).parent / "edgewright"
_BASE = EMBEDDED_WEIGHTS.parent / "policy-base"

pytestmark = pytest.mark.skipif(
    not (_BASE / "config.json").is_file(), reason="no base weights; `make model` builds them"
)


def _edgewright(*arguments: str | Path) -> dict[str, object]:
    done = subprocess.run(
        [str(_EDGEWRIGHT), *map(str, arguments), "--json"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


def test_corpus_then_finetune_then_run_shows_base_and_tuned_side_by_side(tmp_path):
    corpus, adapter = tmp_path / "corpus", tmp_path / "adapter"
    written = _edgewright(
        "corpus", "--scenario", "smart-home", "--scenario", "ehealth", "--runs", "1", "--intervals", "2",
        "--variants", "1", "--out", corpus,
    )  # fmt: skip
    assert written["rows"] == {"smart-home": 6, "ehealth": 6}
    tuned = _edgewright(
        "finetune", "--model", _BASE, "--corpus", corpus, "--out", adapter, "--scheme", "lean", "--u-shape",
        "--rounds", "1", "--local-steps", "1", "--batch-size", "4", "--rank", "4",
    )  # fmt: skip
    assert tuned["sites"] == ["ehealth", "smart-home"]
    assert (adapter / "adapter_config.json").is_file()
    compared = _edgewright(
        "run", "--scenario", "ehealth", "--seeds", "1", "--intervals", "2", "--model", _BASE, "--adapter", adapter,
        "--no-report",
        "--planner", "llm_raw", "--planner", "llm_tuned_raw",
    )  # fmt: skip
    rows = {row["planner"]: row for row in compared["planners"]}  # type: ignore[attr-defined]
    assert set(rows) == {"llm_raw", "llm_tuned_raw"}
    assert all(row["valid_pct"] == 100.0 for row in rows.values())
    merged = tmp_path / "merged"
    _edgewright("merge", "--model", _BASE, "--adapter", adapter, "--out", merged)
    alone = _edgewright(
        "run", "--scenario", "ehealth", "--seeds", "1", "--intervals", "2", "--model", merged, "--no-report",
        "--planner", "llm_raw",
    )  # fmt: skip
    (row,) = alone["planners"]  # type: ignore[misc]
    assert row["valid_pct"] == 100.0
