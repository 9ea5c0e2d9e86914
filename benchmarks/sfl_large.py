"""A model of half a billion weights: what federated LoRA of the whole model asks of a client, and what a split asks.

.venv/bin/python benchmarks/sfl_large.py --json

The sizes are Qwen2.5-0.5B's, the weights random. One real step of either kind is measured in a process of its own; the
same at the paper's batch is counted on shapes, which the measurement checks. Then a split federation of two sites
trains the model for some rounds on real tensors. At most 8 GiB are used at once; takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

_GIB = 2**30
_CLIENT_GIB = 4.0
"""The paper's weakest device, a Jetson Nano."""
_MEASURED, _COUNTED = (6, 128), (16, 128)
"""Texts and tokens: what is run on real tensors within 8 GiB, and the paper's batch, which is counted on shapes."""
_WAYS = ("whole", "whole_bf16_checkpointed", "split_client", "split_client_bf16")
_RANK, _CUT, _NUM_ROUNDS = 16, 1, 4


def main() -> None:
    """Print the figures, or one JSON document; status 1 where one falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--predict", action="store_true", help="Count on shapes alone, and train nothing.")
    parser.add_argument("--one", choices=(*_WAYS, "train"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_train() if options.one == "train" else _memory(options.one, _MEASURED, device="cpu")))
        return
    counted = {shape: {way: _memory(way, shape, device="meta") for way in _WAYS} for shape in (_MEASURED, _COUNTED)}
    measured = {} if options.predict else {way: _in_process(way) for way in ("whole", "split_client")}
    training = None if options.predict else _in_process("train")
    figures = _figures(measured or counted[_MEASURED], counted, training)
    document = {
        "setting": f"24 layers of 896, 151,936 words, LoRA r {_RANK} on query and value, AdamW, cut {_CUT}, random",
        "measured_gib_6x128": {way: _in_gib(row) for way, row in measured.items()},
        "counted_gib_6x128": {way: _in_gib(row) for way, row in counted[_MEASURED].items()},
        "counted_gib_16x128": {way: _in_gib(row) for way, row in counted[_COUNTED].items()},
        "training": training,
        "figures": figures,
    }
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        for row in figures:
            print(f"{row['figure']}: {row['measured']} (target {row['target']}, holds: {row['holds']})")
    sys.exit(any(row["holds"] is False for row in figures))


def _config() -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )


def _memory(way: str, texts_and_tokens: tuple[int, int], *, device: str) -> dict[str, int]:
    import torch

    from sfl_finetune.lora import LoraSettings
    from sfl_finetune.memory import StepShape, measure_client, measure_whole
    from sfl_finetune.meters import ResidentMeter
    from sfl_finetune.schemes import lean
    from sfl_finetune.split import checkpoint_layers
    from sfl_finetune.workload import model_of

    torch.set_num_threads(1)
    precision: Any = "bf16" if "bf16" in way else "fp32"
    lora = LoraSettings(rank=_RANK, targets="default")
    model, parts = model_of(_config(), "causal_lm", lora, precision=precision, device=device)
    if way.endswith("checkpointed"):
        checkpoint_layers(model.get_submodule(parts.layers).children())

    def step(shape: StepShape) -> dict[str, int]:
        if way.startswith("whole"):
            return measure_whole(model, shape).as_dict()
        return measure_client(model, parts, _CUT, lean(), shape).as_dict()

    shape = StepShape(batch_size=texts_and_tokens[0], num_tokens=texts_and_tokens[1])
    if device == "meta":
        return step(shape)
    # Code that is paged in at its first use is resident too, but belongs to no step.
    step(StepShape(batch_size=1, num_tokens=8))
    with ResidentMeter() as meter:
        row = step(shape)
    return row | {"resident_rise": meter.rise_bytes}


def _train() -> dict[str, Any]:
    """Losses of a split federation on two texts a site, and the most that the whole process held."""
    import resource

    import torch
    from transformers import AutoModelForCausalLM

    from sfl_finetune.anatomy import anatomy
    from sfl_finetune.corpus import Example, Site
    from sfl_finetune.federation import Federation
    from sfl_finetune.federation_settings import FederationSettings
    from sfl_finetune.lora import LoraSettings
    from sfl_finetune.optimisation import OptimiserSettings
    from sfl_finetune.schemes import lean

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = _config()
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    num_weights = sum(weight.numel() for weight in model.parameters())
    sites = []
    for name in ("north", "south"):
        texts = [tuple(torch.randint(3, config.vocab_size, (32,)).tolist()) for _ in range(2)]
        sites.append(Site(name=name, examples=tuple(Example(token_ids=text, targets=text) for text in texts)))
    settings = FederationSettings(
        task="causal_lm",
        scheme=lean(),
        cut_layer={"north": 1, "south": 2},
        num_rounds=_NUM_ROUNDS,
        batch_size=2,
        optimiser=OptimiserSettings(learning_rate=2e-3),
    )
    adapter = LoraSettings(rank=_RANK).config("causal_lm", model, anatomy(model))
    federation = Federation(model, adapter, sites, settings)
    losses = [round(federation.run_round(number).loss, 4) for number in range(settings.num_rounds)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "weights": num_weights,
        "losses": losses,
        "uplink_bytes": federation.uplink.traffic.num_bytes,
        "process_peak_gib": round(peak / _GIB, 2),
    }


def _in_process(way: str) -> dict[str, Any]:
    # glibc would keep freed blocks for later; above this size they go back to the system at once.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--one", way]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    print(f"measured {way}", file=sys.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _in_gib(row: dict[str, int]) -> dict[str, float]:
    return {key: round(value / _GIB, 3) for key, value in row.items()}


def _figures(rows: dict[str, Any], counted: dict[Any, Any], training: dict[str, Any] | None) -> list[dict[str, Any]]:
    whole, split = (rows[way]["total"] / _GIB for way in ("whole", "split_client"))
    figures = [
        _figure("6 x 128: client of federated LoRA on the whole model, GiB", whole, f"> {_CLIENT_GIB}", at_least=True),
        _figure("6 x 128: client of the split, GiB", split, f"<= {_CLIENT_GIB}"),
    ]
    for way, row in counted[_COUNTED].items():
        total = row["total"] / _GIB
        figures.append({"figure": f"16 x 128, counted: {way}, GiB", "measured": round(total, 3)} | _PRINTED)
    for way, row in rows.items():
        if "resident_rise" in row:
            off = 100 * abs(counted[_MEASURED][way]["total"] / row["total"] - 1)
            figures.append(_figure(f"{way}: count off measurement, %", off, "<= 10"))
            rise = 100 * abs(row["resident_rise"] / (row["step_peak"] + row["optimiser"]) - 1)
            figures.append({"figure": f"{way}: resident rise off the step, %", "measured": round(rise, 2)} | _PRINTED)
    if training is not None:
        fall = training["losses"][0] - training["losses"][-1]
        figures.append(
            _figure(f"split federation: fall of the loss in {_NUM_ROUNDS} rounds", fall, "> 0", at_least=True)
        )
        peak = training["process_peak_gib"]
        figures.append(_figure("split federation: both sites and the server in one process, GiB", peak, "<= 8"))
    return figures


_PRINTED = {"target": None, "holds": None}


def _figure(figure: str, measured: float, target: str, *, at_least: bool = False) -> dict[str, Any]:
    bound = float(target.rsplit(maxsplit=1)[-1])
    holds = measured > bound if at_least else measured <= bound
    return {"figure": figure, "measured": round(measured, 3), "target": target, "holds": holds}


if __name__ == "__main__":
    main()
