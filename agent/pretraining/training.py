"""The training loop: resumable, seeded, loss on the completion only.

Shapes: B examples in a batch, L tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from agent.errors import AgentInputInvalid
from agent.pretraining.examples import Example
from agent.pretraining.muon import Muon, is_bf16_fast
from agent.pretraining.tokenizer import END

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_IGNORED = -100
_STATE = "training_state.json"
_TENSORS = "training_state.safetensors"
_LOSSES = "losses"
_NUM_RECENT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How long and how fast to learn."""

    num_steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0
    checkpoint_every: int = 500
    device: str = "cpu"
    use_bf16: bool = False
    """Autocast to bf16, where the device is fast at it."""
    number_spread: float = 0.0
    """Standard deviation of the bell of neighbours that count as nearly right for a share; 0: the label alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLabels:
    """What makes a share's neighbours count: N = 101 numbers."""

    number_ids_N: torch.Tensor
    opener_ids: torch.Tensor
    """Tokens after which a share follows."""
    weight_NN: torch.Tensor

    def to(self, device: torch.device) -> ShareLabels:
        """The same labels on that device."""
        return ShareLabels(
            number_ids_N=self.number_ids_N.to(device),
            opener_ids=self.opener_ids.to(device),
            weight_NN=self.weight_NN.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the loop reports after each step."""

    step: int
    num_steps: int
    loss: float
    elapsed_s: float


def encode_examples(examples: Sequence[Example], tokenizer: Tokenizer) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Token ids of prompt + completion + end, with the prompt's length, for each example."""
    end = int(tokenizer.token_to_id(END) or 0)
    prompts = tokenizer.encode_batch([e.prompt for e in examples])
    completions = tokenizer.encode_batch([e.completion for e in examples])
    return tuple(((*p.ids, *c.ids, end), len(p.ids)) for p, c in zip(prompts, completions, strict=True))


def share_labels(tokenizer: Tokenizer, spread: float) -> ShareLabels:
    """Soft labels for shares of 0-100: the weight of each number given the right one."""
    numbers = torch.arange(101, dtype=torch.float32)
    weight_NN = torch.exp(-0.5 * ((numbers[:, None] - numbers[None, :]) / max(spread, 1e-3)) ** 2)
    openers = [i for text, i in tokenizer.get_vocab().items() if text.endswith(('"min":', '"cpu":'))]
    return ShareLabels(
        number_ids_N=torch.tensor([tokenizer.token_to_id(str(int(n))) for n in numbers]),
        opener_ids=torch.tensor(openers),
        weight_NN=weight_NN / weight_NN.sum(dim=1, keepdim=True),
    )


def train(
    model: Any,
    rows: Sequence[tuple[tuple[int, ...], int]],
    plan: TrainingPlan,
    *,
    labels: ShareLabels | None = None,
    folder: Path,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> float | None:
    """Train in place and return the mean loss of the last 100 steps; picks up where `folder` left off.

    None where no step was left to do and the checkpoint keeps no losses.
    """
    torch.manual_seed(plan.seed)
    device = torch.device(plan.device)
    model.to(device).train()
    placed = None if labels is None else labels.to(device)
    if device.type == "cpu":
        # At 32 numbers a head the fused kernel's backward pass is slow: with it a whole step takes 1.4 times as long.
        model.set_attn_implementation("eager")
    optimisers = _optimisers(model, plan)
    start, losses = _restore(model, optimisers, plan, folder)
    batches = _Batches(rows, plan)
    began = time.monotonic()
    for step in range(start, plan.num_steps):
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate * _schedule(step, plan)
        loss = _step(model, optimisers, batches.at(step), plan, placed)
        losses = [*losses, loss][-_NUM_RECENT:]
        on_step(Progress(step=step + 1, num_steps=plan.num_steps, loss=loss, elapsed_s=time.monotonic() - began))
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.num_steps:
            _save(model, optimisers, plan, step + 1, losses, folder)
    model.eval()
    return float(np.mean(losses)) if losses else None


class _Batches:
    """Batches as a pure function of the step, so that a resumed run sees what an uninterrupted one sees."""

    def __init__(self, rows: Sequence[tuple[tuple[int, ...], int]], plan: TrainingPlan) -> None:
        if len(rows) < plan.batch_size:
            raise AgentInputInvalid(f"corpus has {len(rows)} rows, fewer than one batch of {plan.batch_size}")
        self._rows, self._plan = rows, plan
        self._per_epoch = len(rows) // plan.batch_size
        self._epoch = -1
        self._order: list[np.ndarray[Any, Any]] = []

    def at(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        epoch, within = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffle(epoch)
        return self._collate([self._rows[i] for i in self._order[within]])

    def _shuffle(self, epoch: int) -> list[np.ndarray[Any, Any]]:
        """Batches of similar lengths, in random order."""
        rng = np.random.default_rng((self._plan.seed, epoch))
        jitter = rng.random(len(self._rows))
        lengths = np.array([len(ids) for ids, _ in self._rows])
        order = np.lexsort((jitter, lengths))
        skip = int(rng.integers(0, len(order) - self._per_epoch * self._plan.batch_size + 1))
        batches = order[skip : skip + self._per_epoch * self._plan.batch_size].reshape(self._per_epoch, -1)
        return list(batches[rng.permutation(self._per_epoch)])

    def _collate(self, rows: Sequence[tuple[tuple[int, ...], int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        longest = max(len(ids) for ids, _ in rows)
        tokens_BL = torch.zeros((len(rows), longest), dtype=torch.long)
        labels_BL = torch.full((len(rows), longest), _IGNORED)
        mask_BL = torch.zeros((len(rows), longest), dtype=torch.long)
        for row, (ids, prompt_length) in enumerate(rows):
            tokens_BL[row, : len(ids)] = torch.tensor(ids)
            labels_BL[row, prompt_length : len(ids)] = torch.tensor(ids[prompt_length:])
            mask_BL[row, : len(ids)] = 1
        device = torch.device(self._plan.device)
        return tokens_BL.to(device), labels_BL.to(device), mask_BL.to(device)


def _step(
    model: Any,
    optimisers: Sequence[torch.optim.Optimizer],
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    plan: TrainingPlan,
    labels: ShareLabels | None,
) -> float:
    tokens_BL, labels_BL, mask_BL = batch
    use_bf16 = plan.use_bf16 and is_bf16_fast(tokens_BL.device)
    with torch.autocast(tokens_BL.device.type, dtype=torch.bfloat16, enabled=use_bf16):
        hidden_BLD = model.model(input_ids=tokens_BL, attention_mask=mask_BL, use_cache=False).last_hidden_state
        # Only answer positions meet the vocabulary: the prompt's logits would be thrown away.
        wanted = labels_BL[:, 1:] != _IGNORED
        logits = model.lm_head(hidden_BLD[:, :-1][wanted])
        loss = _loss(logits.float(), labels_BL[:, 1:][wanted], tokens_BL[:, :-1][wanted], labels)
    if not torch.isfinite(loss):
        raise AgentInputInvalid(f"loss is {loss.item()}; lower the learning rate of {plan.learning_rate}")
    model.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(model.parameters(), plan.max_grad_norm)
    for optimiser in optimisers:
        optimiser.step()
    return float(loss.item())


def _loss(
    logits_TV: torch.Tensor, wanted_T: torch.Tensor, before_T: torch.Tensor, labels: ShareLabels | None
) -> torch.Tensor:
    """Cross-entropy; for shares against a bell over neighbouring numbers, which teaches that 34 is nearly 35."""
    if labels is None:
        return nn.functional.cross_entropy(logits_TV, wanted_T)
    losses_T = nn.functional.cross_entropy(logits_TV, wanted_T, reduction="none")
    is_share_T = torch.isin(before_T, labels.opener_ids) & torch.isin(wanted_T, labels.number_ids_N)
    log_probability_SN = logits_TV[is_share_T].log_softmax(dim=-1)[:, labels.number_ids_N]
    number_S = (wanted_T[is_share_T][:, None] == labels.number_ids_N[None, :]).int().argmax(dim=1)
    soft_S = -(labels.weight_NN[number_S] * log_probability_SN).sum(dim=-1)
    return torch.cat((losses_T[~is_share_T], soft_S)).mean()


def _optimisers(model: nn.Module, plan: TrainingPlan) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the layers' matrices, AdamW for embeddings and norms; one rate serves both."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    adamw = torch.optim.AdamW(others, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay)
    return adamw, Muon(hidden, lr=plan.learning_rate, weight_decay=plan.weight_decay)


def _schedule(step: int, plan: TrainingPlan) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    done = (step - plan.warmup_steps) / max(plan.num_steps - plan.warmup_steps, 1)
    return 0.05 + 0.95 * 0.5 * (1.0 + float(np.cos(np.pi * done)))


def _save(
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    plan: TrainingPlan,
    step: int,
    losses: Sequence[float],
    folder: Path,
) -> None:
    """Write weights, optimiser moments and recent losses; the small file that names the step is replaced last."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.named_parameters()}
    tensors[_LOSSES] = torch.tensor(losses, dtype=torch.float64)
    for place, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
        for index, moments in state.items():
            tensors |= {f"optimiser.{place}.{index}.{k}": torch.as_tensor(v).cpu().clone() for k, v in moments.items()}
    partial = folder / (_TENSORS + ".part")
    save_file(tensors, partial)
    partial.replace(folder / _TENSORS)
    partial = folder / (_STATE + ".part")
    partial.write_text(json.dumps({"step": step, "plan": asdict(plan)}, indent=2) + "\n")
    partial.replace(folder / _STATE)


def _restore(
    model: nn.Module, optimisers: Sequence[torch.optim.Optimizer], plan: TrainingPlan, folder: Path
) -> tuple[int, list[float]]:
    """The step to go on from and the losses of the last steps before it."""
    if not (folder / _STATE).exists():
        return 0, []
    state = json.loads((folder / _STATE).read_text())
    if state["plan"] != asdict(plan):
        raise AgentInputInvalid(f"{folder} holds a run with another plan {state['plan']}; expected {asdict(plan)}")
    tensors = load_file(folder / _TENSORS)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    steps = []
    for place, optimiser in enumerate(optimisers):
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimiser.{place}."):
                _, _, index, key = name.split(".", 3)
                moments.setdefault(int(index), {})[key] = tensor
        steps += [int(held["step"]) for held in moments.values() if "step" in held]
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    # The tensors know their own step: a run killed between the two files has newer tensors than its small file says.
    losses = tensors.get(_LOSSES, torch.empty(0))
    return max(steps, default=int(state["step"])), losses.tolist()
