"""Opens a control room on an embedded simulated network, and picks the chat's language model."""

from __future__ import annotations

import contextlib
import gc
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from agent.chat.answer import clean_session_name
from agent.chat.room_options import RoomOptions
from agent.chat.session_network import latest_session
from agent.control_room import ControlRoom
from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import AgentInputInvalid, ModelUnavailable
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.planner import GatedModelPlanner, Planner, baseline_planners
from agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import BaseChatModel

    from agent.cell_plan import CellPlan
    from agent.chat.session import ChatSession
    from agent.goal import GoalTerms
    from agent.planner import Decision
    from edge_preprocess.digest import EdgeDigest
    from telemetry_sim.topology import Topology


_ALLOWED = "expected a folder, `embedded`, or provider:model[@URL]"
_MOST_TOLD = 160
"""Characters of what a provider's client says."""


@dataclass(slots=True)
class DeferredModelPlanner:
    """The gated model planner, its weights loaded when it is first asked."""

    model: str | None = None
    name: str = "llm_gated"
    warning: str = ""
    _inner: GatedModelPlanner | None = field(default=None)

    _loading: threading.Lock = field(default_factory=threading.Lock)

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        return self.load().decide(digests, terms, current)

    def load(self) -> GatedModelPlanner:
        """Reads the weights, once; another thread that asks meanwhile waits."""
        with self._loading:
            if self._inner is None:
                from agent.bootstrap import load_model_or_absent

                loaded, self.warning = load_model_or_absent(self.model)
                self._inner = GatedModelPlanner(model=loaded)
            return self._inner


def open_room(options: RoomOptions, store: Store) -> ControlRoom:
    """An embedded simulated network, observed for a few intervals; every change needs an approval."""
    from agent.bootstrap import SimulatedSource, build_network
    from edge_preprocess.pipeline import EdgePipeline

    network = build_network(options.scenario, seed=options.seed, num_devices=options.num_devices)
    topology = network.topology
    gate = Gate(
        store=store,
        dispatcher=InProcessDispatcher(network, topology),
        topology=topology,
        settings=GateSettings(
            limits=Limits(max_share_step_pct=100, window_s=options.interval_s),
            default_stops=Stops(mode=Mode.SUGGEST_ONLY),
        ),
    )
    room = ControlRoom(
        source=SimulatedSource(network),
        pipeline=EdgePipeline(topology, interval_s=options.interval_s),
        planner=pick_planner(options),
        gate=gate,
        store=store,
        interval_s=options.interval_s,
        is_read_only=options.is_read_only,
    )
    gate.resume()
    room.observe(options.num_intervals)
    return room


def pick_planner(options: RoomOptions) -> Planner:
    """Raises AgentInputInvalid for an unknown name."""
    planners = {planner.name: planner for planner in baseline_planners()}
    if options.planner == "llm_gated":
        return DeferredModelPlanner(options.policy_model)
    if options.planner not in planners:
        raise AgentInputInvalid(
            f"planner {options.planner!r} is unknown; planners are llm_gated, {', '.join(planners)}"
        )
    return planners[options.planner]


def pick_chat_model(name: str | None, topology: Topology) -> BaseChatModel:
    """The embedded model, a Hugging Face folder, or `provider:model` (with `@URL` for a server of one's own)."""
    if name is None or name == "embedded":
        from agent.models.chat_model import EmbeddedChatModel

        return EmbeddedChatModel.of(topology)
    if _is_folder(name):
        from agent.models.folder_chat_model import FolderChatModel

        return FolderChatModel(folder=name)
    return _remote_model(name)


def open_session(
    options: RoomOptions, model: str | None, folder: Path, *, session: str | None, is_resumed: bool
) -> ChatSession:
    """A conversation about an embedded network or a server's; raises AgentError for whatever is wrong with either."""
    from agent.chat.session import ChatSession

    name = latest_session(folder) if is_resumed else session
    store = session_store(folder, name)
    if options.server is None:
        room = open_room(options, store)
        return ChatSession(room, pick_chat_model(model, room.topology), name=name or "chat", is_named=name is not None)
    from agent.chat.server_link import ServerLink
    from agent.chat.server_mirror import attach
    from agent.chat.server_view import show_view

    link = ServerLink(options.server, options.token)
    room = attach(link, Store.open("sqlite://"))
    chosen = pick_chat_model(model, room.topology)
    view = partial(show_view, link)
    return ChatSession(room, chosen, name=name or "chat", is_named=name is not None, store=store, view=view)


def warm_up(session: ChatSession) -> None:
    """Read behind the prompt what the first plan and the first answer would wait for."""
    from agent.models.chat_model import EmbeddedChatModel

    if isinstance(session.model, EmbeddedChatModel):
        with contextlib.suppress(ModelUnavailable):  # said at the first question
            session.model.load()
    if isinstance(session.room.planner, DeferredModelPlanner):
        session.room.planner.load()
    # What has been read stays for good; the collector looking through it in mid-answer made one wait .4 s.
    gc.freeze()


def session_store(folder: Path, session: str | None) -> Store:
    """The store of a session's own file; in memory without a name. Raises AgentInputInvalid for an impossible name."""
    if session is None:
        return Store.open("sqlite://")
    return Store.open(f"sqlite:///{folder / clean_session_name(session)}.db")


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_dir()
    except OSError:  # a name too long for a path
        return False


def _remote_model(name: str) -> BaseChatModel:
    model, _, url = name.partition("@")
    if ":" not in model:
        raise ModelUnavailable(f"model {name[:80]!r}: no such folder; {_ALLOWED}")
    from langchain.chat_models import init_chat_model

    given: dict[str, Any] = {"base_url": url, "api_key": "none"} if url else {}
    try:
        chosen: BaseChatModel = init_chat_model(model, timeout=60, max_retries=1, **given)
    except Exception as error:  # a provider's client raises types of its own
        why = shorten(str(error), width=_MOST_TOLD, placeholder=" …")
        raise ModelUnavailable(f"model {name[:80]!r}: {why}; {_ALLOWED}") from error
    return chosen
