"""When one server pass for all clients pays: CPU time against taking turns, its memory, and the virtual clock.

.venv/bin/python benchmarks/sfl_batched.py --json

A MiniLM-sized server (6 layers of 384 features, cut after layer 1) serves six clients, each text with its own client's
adapter (rank 16 on every linear module). Time is CPU seconds of this process, the better of three runs.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import BertConfig

from sfl_finetune.clock import Party, round_seconds
from sfl_finetune.devices import CLIENTS, DEVICES, SERVER, Channel
from sfl_finetune.lora import LoraSettings
from sfl_finetune.memory import StepShape, measure_server
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.schemes import scheme_named
from sfl_finetune.server import Server
from sfl_finetune.wire import Message
from sfl_finetune.workload import count_step, model_of, shape_only_model

if TYPE_CHECKING:
    from collections.abc import Callable

_SHAPES = ((1, 8), (1, 32), (4, 32), (16, 32), (16, 128))
_NUM_CLIENTS = 6
_CONFIG = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "vocab_size": 2000,
    "num_labels": 6,
}


def main() -> None:
    """Print the figures, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    document = {
        "setting": "6 layers of 384, six clients, cut 1, rank 16 on all linear modules, one thread",
        "time": [_times(batch, tokens) for batch, tokens in _SHAPES],
        "server_mib_at_16_x_128": {name: _mib(name) for name in ("lean", "batched")},
        "virtual_seconds_a_round_at_16_x_128": {name: _virtual(name) for name in ("lean", "batched")},
    }
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for key, value in document.items():
        print(f"{key}: {value}")


def _times(batch: int, tokens: int) -> dict[str, Any]:
    in_turn, together = _server("lean"), _server("batched")
    messages = [_message(f"c{number}", batch, tokens) for number in range(_NUM_CLIENTS)]

    def turns() -> None:
        for message in messages:
            in_turn.backward(in_turn.forward(message))
            in_turn.step(message.client, 1e-3)

    def one_pass() -> None:
        together.together(messages)
        for message in messages:
            together.step(message.client, 1e-3)

    slow, fast = _cpu_seconds(turns), _cpu_seconds(one_pass)
    return {
        "texts_a_client": batch,
        "tokens": tokens,
        "turns_ms": round(slow * 1e3, 1),
        "one_pass_ms": round(fast * 1e3, 1),
        "saved_percent": round(100 * (1 - fast / slow), 1),
    }


def _server(name: str) -> Server:
    model, parts = model_of(BertConfig(**_CONFIG), "classification", LoraSettings())
    cuts = {f"c{number}": 1 for number in range(_NUM_CLIENTS)}
    return Server(model, parts, cuts, scheme=scheme_named(name), optimiser=OptimiserSettings())


def _message(client: str, batch: int, tokens: int) -> Message:
    return Message(
        kind="activations",
        client=client,
        round=0,
        step=0,
        features=torch.randn(batch, tokens, _CONFIG["hidden_size"]),
        attention_mask=torch.ones(batch, tokens, dtype=torch.long),
        labels=torch.zeros(batch, dtype=torch.long),
    )


def _cpu_seconds(work: Callable[[], None]) -> float:
    work()
    found = []
    for _ in range(3):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def _mib(name: str) -> float:
    model, parts = model_of(BertConfig(**_CONFIG), "classification", LoraSettings(), device="meta")
    shape = StepShape(batch_size=16, num_tokens=128)
    return round(measure_server(model, parts, [1] * _NUM_CLIENTS, scheme_named(name), shape).total / 2**20, 1)


def _virtual(name: str) -> float:
    model, parts = shape_only_model(BertConfig(**_CONFIG), "classification", LoraSettings())
    scheme = scheme_named(name)
    work = count_step(model, parts, 1, scheme, StepShape(batch_size=16, num_tokens=128))
    parties = [Party(name=client, device=DEVICES[client], work=work) for client in CLIENTS]
    return round(round_seconds(parties, DEVICES[SERVER], Channel(), scheme), 4)


if __name__ == "__main__":
    main()
