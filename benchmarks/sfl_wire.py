"""What quantising the wire saves in bytes and costs in accuracy.

.venv/bin/python benchmarks/sfl_wire.py --json

Bytes: messages of BERT-base size (16 texts, 128 tokens, 768 features) against fp32, headers counted. Accuracy: six
sites train the case study's encoder on `--data` under each wire format, seeds and batches alike, so differences are
paired. `--no-training` leaves accuracy out. Interrupted, the same command with the same `--out` goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from sfl_finetune.case_study import CaseStudySettings, run_one
from sfl_finetune.encoder import packaged_minilm, pretrain_encoder
from sfl_finetune.labelled_texts import LabelledSplits, read_labelled
from sfl_finetune.wire import Codec, Message, encode

_WANTED: dict[Codec, tuple[float, float]] = {"int8": (3.9, 0.3), "int4": (7.0, 1.0)}
"""Least ratio of bytes, most points of accuracy lost."""

_CODECS: tuple[Codec, ...] = ("fp32", *_WANTED)


def main() -> None:
    """Print the figures, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("EDGEWRIGHT_DATA", "../shared/data")) / "carer"
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--out", type=Path, help="Keeps the runs, so that they can be gone on with.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    figures = _bytes() + ([] if options.no_training else _accuracy(options))
    if options.json:
        print(json.dumps({"rounds": options.rounds, "seed": options.seed, "figures": figures}, indent=1))
        return
    for row in figures:
        print(f"{row['figure']}: {row['measured']} (target {row['target']}, holds: {row['holds']})")


def _bytes() -> list[dict[str, Any]]:
    shape = (16, 128, 768)
    message = Message(
        kind="activations",
        client="site",
        round=0,
        step=0,
        features=torch.randn(shape, generator=torch.Generator().manual_seed(0)),
        attention_mask=torch.ones(shape[:2]),
        labels=torch.zeros(16, dtype=torch.long),
    )
    plain = len(encode(message, "fp32"))
    figures = []
    for codec, (least, _) in _WANTED.items():
        ratio = round(plain / len(encode(message, codec)), 3)
        figures.append(
            {
                "figure": f"{codec}: times fewer bytes",
                "measured": ratio,
                "target": f">= {least}",
                "holds": ratio >= least,
            }
        )
    return figures


def _accuracy(options: argparse.Namespace) -> list[dict[str, Any]]:
    splits = read_labelled(options.data)
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder)
        settings = CaseStudySettings(
            model=_encoder(splits, out, options.seed),
            num_rounds=options.rounds,
            learning_rate=options.learning_rate,
            precision=options.precision,
            evaluate_every=5,
            seed=options.seed,
        )
        hits = {codec: _train(splits, settings, codec, out) for codec in _CODECS}
    figures: list[dict[str, Any]] = [
        {"figure": f"{codec}: validation accuracy", "measured": round(found, 4), "target": None, "holds": None}
        for codec, found in hits.items()
    ]
    for codec, (_, most) in _WANTED.items():
        lost = round(100 * (hits["fp32"] - hits[codec]), 2)
        figures.append(
            {
                "figure": f"{codec}: points of accuracy lost",
                "measured": lost,
                "target": f"<= {most}",
                "holds": lost <= most,
            }
        )
    return figures


def _encoder(splits: LabelledSplits, out: Path, seed: int) -> str:
    packaged = packaged_minilm()
    if packaged is not None:
        return str(packaged)
    folder = out / "encoder"
    if not (folder / "config.json").exists():
        texts = [row.text for row in splits.train]
        pretrain_encoder(texts, folder, num_layers=4, hidden_size=128, num_steps=300, seed=seed)
    return str(folder)


def _train(splits: LabelledSplits, settings: CaseStudySettings, codec: Codec, out: Path) -> float:
    course = run_one(
        splits,
        settings,
        "memory_efficient",
        "iid",
        out / codec,
        wire=codec,
        on_round=lambda report: print(f"{codec}: round {report.round}, loss {report.loss:.3f}", file=sys.stderr),
        should_stop=lambda: False,
    )
    return course.accuracy[-1][1]


if __name__ == "__main__":
    main()
