"""Server memory of each scheme at BERT-base size: measured on real tensors, cross-checked, and predicted from shapes.

.venv/bin/python benchmarks/sfl_memory.py --json

Six clients cut after layer 1, batch 16, 128 tokens, rank 16 on query and value, AdamW. Each scheme runs in a process
of its own, so that the rise of resident memory is its own too. `--predict` leaves the measurement out (seconds, not
minutes).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from sfl_paper import MEMORY_ABOVE_SL_PERCENT, MEMORY_BELOW_SFL_PERCENT

_NUM_CLIENTS, _CUT = 6, 1
_MIB = 2**20
_SCHEMES = ("sl", "sfl", "memory_efficient", "lean", "lean_bf16")


def main() -> None:
    """Print a table, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--predict", action="store_true", help="Count on shapes alone.")
    parser.add_argument("--one", choices=_SCHEMES, help=argparse.SUPPRESS)
    parser.add_argument("--schemes", nargs="+", default=list(_SCHEMES), choices=_SCHEMES)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(options.one, device="cpu")))
        return
    predicted = {name: _measure(name, device="meta") for name in options.schemes}
    measured = {} if options.predict else {name: _in_process(name) for name in options.schemes}
    document = {
        "setting": "BERT-base, 6 clients, cut 1, batch 16, 128 tokens, LoRA r 16 on query and value, AdamW",
        "source": "predicted from shapes" if options.predict else "measured on real tensors",
        "mib": {name: _in_mib(row) for name, row in (measured or predicted).items()},
        "predicted_mib": {name: _in_mib(row) for name, row in predicted.items()},
        "figures": _figures(measured or predicted) + _cross_checks(measured, predicted),
    }
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for name, row in document["mib"].items():
        print(f"{name:17s}" + "  ".join(f"{key} {value:8.1f}" for key, value in row.items()))
    for row in document["figures"]:
        beside = "" if row.get("paper") is None else f"; the paper: {row['paper']}"
        print(f"{row['figure']}: {row['measured']} (target {row['target']}, holds: {row['holds']}{beside})")


def _measure(name: str, *, device: str) -> dict[str, int]:
    import torch
    from transformers import BertConfig

    from sfl_finetune.lora import LoraSettings
    from sfl_finetune.memory import StepShape, measure_server
    from sfl_finetune.meters import ResidentMeter
    from sfl_finetune.schemes import scheme_named
    from sfl_finetune.workload import model_of

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    scheme = scheme_named(name.removesuffix("_bf16"), precision="bf16" if name.endswith("_bf16") else None)
    lora = LoraSettings(rank=16, targets="default")
    config = BertConfig(num_labels=6)
    model, parts = model_of(config, "classification", lora, precision=scheme.precision, device=device)
    meter = ResidentMeter() if device == "cpu" else None
    shape = StepShape(batch_size=16, num_tokens=128)
    if meter is not None:
        # Code that is paged in at its first use is resident too, but belongs to no step.
        measure_server(model, parts, [_CUT], scheme, StepShape(batch_size=1, num_tokens=8), max_turns=1)
    found = measure_server(model, parts, [_CUT] * _NUM_CLIENTS, scheme, shape, max_turns=2, beside=meter)
    row = found.as_dict()
    if meter is not None:
        row["resident_rise"] = meter.rise_bytes
    if scheme.checkpointing and device == "meta":
        # What recomputing costs: the forward pass of every server layer once more.
        from sfl_finetune.workload import count_step

        again, once = (
            count_step(model, parts, _CUT, replace(scheme, checkpointing=on), shape).server_flop for on in (True, False)
        )
        row["recompute_percent"] = round(100 * (again / once - 1), 1)  # type: ignore[assignment]
    return row


def _in_process(name: str) -> dict[str, int]:
    # glibc would keep freed blocks for later; above this size they go back to the system at once.
    environment = os.environ | {
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    print(f"measured {name}", file=sys.stderr)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _in_mib(row: dict[str, int]) -> dict[str, float]:
    return {key: value if key == "recompute_percent" else round(value / _MIB, 1) for key, value in row.items()}


def _figures(rows: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    wanted = [
        ("memory_efficient below sfl, %", "memory_efficient", "sfl", 79.0, 1, MEMORY_BELOW_SFL_PERCENT),
        ("memory_efficient above sl, %", "memory_efficient", "sl", 10.0, -1, MEMORY_ABOVE_SL_PERCENT),
        ("lean below sfl, %", "lean", "sfl", 93.0, 1, MEMORY_BELOW_SFL_PERCENT),
        ("lean below memory_efficient, fp32, %", "lean", "memory_efficient", 60.0, 1, None),
        ("lean with bf16 below memory_efficient, %", "lean_bf16", "memory_efficient", 77.0, 1, None),
    ]
    figures = []
    for figure, mine, theirs, target, sign, paper in wanted:
        if mine in rows and theirs in rows:
            percent = round(sign * 100 * (1 - rows[mine]["total"] / rows[theirs]["total"]), 2)
            holds = percent >= target if sign > 0 else percent <= target
            figures.append(
                {
                    "figure": figure,
                    "measured": percent,
                    "target": f"{'>=' if sign > 0 else '<='} {target}",
                    "holds": holds,
                    "paper": paper,
                }
            )
    return figures


def _cross_checks(measured: dict[str, dict[str, int]], predicted: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    figures = []
    for name, row in measured.items():
        off = round(100 * abs(predicted[name]["total"] / row["total"] - 1), 2)
        figures.append(
            {"figure": f"{name}: prediction off measurement, %", "measured": off, "target": "<= 10", "holds": off <= 10}
        )
        rise = round(100 * abs(row["resident_rise"] / row["step_peak"] - 1), 2)
        figures.append(
            {
                "figure": f"{name}: resident rise off tensors of the step, %",
                "measured": rise,
                "target": "<= 10",
                "holds": rise <= 10,
            }
        )
    return figures


if __name__ == "__main__":
    main()
