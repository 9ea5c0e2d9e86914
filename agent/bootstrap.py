"""Where implementations are picked: the only module that knows which network, dispatcher and model serve a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.control_loop import ControlLoop
from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import AgentInputInvalid, ModelUnavailable
from agent.models.port import Answer, PolicyModel
from agent.replay.recording_dispatcher import RecordingDispatcher
from agent.replay.source import Cadence, RecordedSource
from agent.settings import read_endpoint_settings
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.actions import ControlAction
from telemetry_sim.faults import FaultKind
from telemetry_sim.network import Network, forks
from telemetry_sim.records import Telemetry
from telemetry_sim.scenarios import scenario
from telemetry_sim.topology import Topology

if TYPE_CHECKING:
    from agent.goal import Goal
    from agent.planner import Planner
    from agent.prompting import Prompt
    from telemetry_sim.traces import TraceReader

EMBEDDED_WEIGHTS = Path(__file__).parent / "weights" / "policy"
EMBEDDED_BASE = EMBEDDED_WEIGHTS.with_name("policy-base")
"""What the embedded model was before any site tuned it."""


@dataclass(frozen=True, slots=True)
class SimulatedSource:
    """A simulated network as a telemetry source without end."""

    network: Network

    @property
    def topology(self) -> Topology:
        return self.network.topology

    def next_interval(self, duration_s: float) -> Telemetry | None:
        return self.network.run(duration_s)


@dataclass(frozen=True, slots=True)
class AbsentModel:
    """Stands where a model could not be loaded; every question to it fails, so that the fallback is counted."""

    reason: str
    name: str = "absent"

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        del prompts
        raise ModelUnavailable(self.reason)


def build_network(
    scenario_name: str, *, seed: int, num_devices: int | None = None, faults: Sequence[FaultKind] | None = None
) -> Network:
    """A simulated network of a named scenario, with other kinds of faults if given; raises ScenarioInvalid."""
    made = scenario(scenario_name, num_devices)
    if faults is not None:
        made = replace(made, faults=replace(made.faults, kinds=tuple(faults)))
    return Network(made, seed=seed)


def what_if(
    network: Network, policies: Sequence[Sequence[ControlAction]], *, duration_s: float
) -> tuple[Telemetry, ...]:
    """What each policy would bring from now on under the same chances; the network stays as it is."""
    return forks.what_if(network, policies, duration_s=duration_s)


def build_loop(
    network: Network, planner: Planner, *, goals: tuple[Goal, ...] = (), interval_s: float = 10.0
) -> ControlLoop:
    """The closed loop on a simulated network, dispatching in process."""
    return ControlLoop(
        source=SimulatedSource(network),
        pipeline=EdgePipeline(network.topology, interval_s=interval_s),
        planner=planner,
        dispatcher=InProcessDispatcher(network, network.topology),
        interval_s=interval_s,
        goals=goals,
    )


def build_replay_loop(
    trace: TraceReader, planner: Planner, cadence: Cadence, *, goals: tuple[Goal, ...] = ()
) -> ControlLoop:
    """The loop on a recording; every policy is acknowledged and none is sent, because a recording can't obey."""
    return ControlLoop(
        source=RecordedSource(trace, cadence),
        pipeline=EdgePipeline(trace.topology, interval_s=cadence.interval_s),
        planner=planner,
        dispatcher=RecordingDispatcher(trace.topology),
        interval_s=cadence.interval_s,
        goals=goals,
    )


def load_model(model: str | None = None, *, adapter: Path | None = None, device: str = "cpu") -> PolicyModel:
    """The embedded model, a folder or hub name, or an OpenAI-compatible endpoint URL; raises ModelUnavailable."""
    if model is not None and model.startswith(("http://", "https://")):
        from agent.models.endpoint import EndpointModel

        if adapter is not None:
            raise AgentInputInvalid(f"adapter {str(adapter)!r}: an endpoint's weights can't be adapted from here")
        return EndpointModel(url=model, settings=read_endpoint_settings(os.environ))
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise AgentInputInvalid(
            f"adapter {str(adapter)!r}: no adapter_config.json there; expected a PEFT adapter folder"
        )
    if adapter is not None and not any(
        (adapter / f"adapter_model.{kind}").is_file() for kind in ("safetensors", "bin")
    ):
        # peft would ask a hub for them.
        raise ModelUnavailable(f"adapter {str(adapter)!r}: no adapter_model.safetensors there")
    if model is not None and not _is_at_hand(model):
        raise ModelUnavailable(
            f"model {model!r}: no such folder, and no model of that name in the local cache; nothing is fetched"
        )
    import torch

    from agent.models.local import load_local_model

    # Two threads beside another busy process are forty times slower than one (spinning at every small kernel).
    torch.set_num_threads(1)
    path = EMBEDDED_WEIGHTS if model is None else Path(model)
    if model is None and not (path / "config.json").is_file():
        raise ModelUnavailable(f"embedded weights are missing at {path}; `make model` builds them")
    return load_local_model(str(path) if model is None else model, adapter=adapter, device=device)


def _is_at_hand(model: str) -> bool:
    # Path.is_dir raises for a name that no file can have.
    if os.path.isdir(model):  # noqa: PTH112
        return True
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(model, "config.json"), str)
    except ValueError:
        # No name that a hub could have.
        return False


def load_wanted_model(
    model: str | None = None, *, adapter: Path | None = None, device: str = "cpu"
) -> tuple[PolicyModel, str]:
    """Like `load_model_or_absent`, but weights that were asked for by name must be there.

    Raises ModelUnavailable for these: nobody wants hours of a stand-in for a name mistyped. An endpoint may come back.
    """
    if adapter is None and (model is None or model.startswith(("http://", "https://"))):
        return load_model_or_absent(model, device=device)
    return load_model(model, adapter=adapter, device=device), ""


def load_model_or_absent(
    model: str | None = None, *, adapter: Path | None = None, device: str = "cpu"
) -> tuple[PolicyModel, str]:
    """The model and an empty warning, or a stand-in that always fails and the reason to say loudly."""
    try:
        return load_model(model, adapter=adapter, device=device), ""
    except ModelUnavailable as error:
        return AbsentModel(str(error)), str(error)


def pick_device(wanted: str) -> str:
    """`auto` becomes cuda where there is one; raises AgentInputInvalid for an absent device."""
    if wanted not in {"auto", "cpu", "cuda"}:
        raise AgentInputInvalid(f"device {wanted!r} is unknown; auto, cpu and cuda are")
    if wanted == "cpu":
        return wanted
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise AgentInputInvalid("device 'cuda': no CUDA device is visible; use auto or cpu")
    return "cpu"
