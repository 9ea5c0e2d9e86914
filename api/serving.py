"""Puts a server together: store, network, planner, gate, loop, application; and runs it until it is told to stop."""

from __future__ import annotations

import gc
import json
import logging
import signal
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from agent.control_loop import ControlLoop
from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import AgentError
from agent.gate.gate import Gate, GateSettings
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.gate.history import refuse_another_network
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.gate.watch import MIN_HISTORY
from agent.store.store import Store
from agent.store.tokens import has_tokens
from agent.tracing import TracedPlanner, collect_spans
from api.app import create_app
from api.errors import ServerMisconfigured
from api.operations import Operations
from api.security import is_loopback
from api.settings import ApiSettings
from api.tracing import TracedRequests, open_tracer
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.scenarios import scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.models.port import Answer, PolicyModel
    from agent.planner import Planner
    from agent.prompting import Prompt
    from telemetry_sim.actions import Acknowledgement, ControlAction
    from telemetry_sim.records import Telemetry
    from telemetry_sim.topology import Topology


class Network(Protocol):
    """The part of a simulated network that the server drives."""

    def run(self, duration_s: float) -> Telemetry: ...

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]: ...


_MODEL_PLANNERS = ("llm", "llm_gated")
"""The same planner, by its short name and by the one that it goes by elsewhere."""
_GRACE_S = 3
_SWITCH_S = 0.001
_STALE_INTERVALS = 5
"""Without one that went well, after which /readyz says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What `edgewright serve` was asked for."""

    host: str = "127.0.0.1"
    port: int = 8000
    store_url: str = "sqlite:///edgewright.db"
    planner: str = "llm"
    model: str | None = None
    adapter: Path | None = None
    scenario: str = "smart-city"
    num_devices: int | None = None
    broker: str | None = None
    """host:port of an MQTT broker; None: an embedded network."""
    seed: int = 1
    interval_s: float = 10.0
    pace_s: float = 10.0
    """Wall-clock time of an interval."""
    mode: Mode | None = None
    """None: autonomous for a simulated network, suggest-only for a real one."""
    max_share_step_pct: int = 60
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    traces: str | None = None
    """OTLP/HTTP endpoint for OpenTelemetry traces; None: none are made."""
    settings: ApiSettings = ApiSettings()  # noqa: RUF009 (frozen)


class DeferredNetwork:
    """An embedded network that is built when it is first used, so that the server answers before."""

    def __init__(self, topology: Topology, make: Callable[[], Network]) -> None:
        self.topology = topology
        self._make = make
        self._lock = threading.Lock()
        self._network: Network | None = None

    def next_interval(self, duration_s: float) -> Telemetry | None:
        return self._built().run(duration_s)

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        return self._built().apply(actions, policy_version=policy_version)

    def _built(self) -> Network:
        with self._lock:
            if self._network is None:
                self._network = self._make()
            return self._network


class DeferredModel:
    """The embedded model, read when it is first asked, so that the server answers before torch is loaded."""

    name = "policy"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: PolicyModel | None = None

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        with self._lock:
            if self._model is None:
                self._model = _load_or_warn(None, adapter=None)
            model = self._model
        return model.answer(prompts)


def build_operations(options: ServeOptions) -> Operations:
    """A control loop over an embedded simulated network or over a broker; not started yet."""
    topology = scenario(options.scenario, options.num_devices).topology
    # First what may be refused, so that nobody's mistake leaves a new store behind.
    loop = _broker_loop(options, topology) if options.broker else _embedded_loop(options, topology)
    store = _open_store(options, topology)
    if options.traces is not None:
        loop.planner = TracedPlanner(loop.planner)
    mode = options.mode or (Mode.SUGGEST_ONLY if options.broker else Mode.AUTONOMOUS)
    gate = Gate(
        store=store,
        dispatcher=loop.dispatcher,
        topology=topology,
        settings=GateSettings(
            limits=Limits(max_share_step_pct=options.max_share_step_pct, window_s=options.interval_s),
            default_stops=Stops(mode=mode),
            # Until the watch knows again what is normal; a bad plan that came back before would go unnoticed.
            cooldown_s=max(GateSettings().cooldown_s, MIN_HISTORY * options.interval_s),
        ),
    )
    return Operations(loop=loop, gate=gate, dispatcher=GatedDispatcher(gate, loop.dispatcher), store=store)


def serve(options: ServeOptions, announce: Callable[[dict[str, object]], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests that run are finished, the loop ends its turn, the store closes."""
    import uvicorn

    settings = settings_for(options)
    _check_exposure(options)
    send_rest = _start_tracing(options)
    listening = _listen(options.host, options.port)
    operations = build_operations(options)
    if not (options.settings.tokens_are_needed or is_loopback(options.host) or operations.store.read(has_tokens)):
        operations.store.close()
        raise ServerMisconfigured(f"host {options.host!r} is not loopback: make a token first (`--new-token`)")
    app = create_app(operations, settings)
    config = uvicorn.Config(
        app if options.traces is None else TracedRequests(app),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=None if options.tls_certificate is None else str(options.tls_certificate),
        ssl_keyfile=None if options.tls_key is None else str(options.tls_key),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    server = uvicorn.Server(config)

    def leave(*_: object) -> None:
        # Also heard before the server listens to signals itself, and once more after it has ended.
        server.should_exit = True

    # Requests and the store's writer hand the interpreter to and fro; at the default of 5 ms each hand-over is a wait.
    sys.setswitchinterval(_SWITCH_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    operations.start(pace_s=options.pace_s, is_awaited=lambda: not server.started)
    # What was made so far lives as long as the server; the collector need not go through it again.
    gc.freeze()
    gc.enable()
    announce(_address(listening, operations, options))
    try:
        server.run(sockets=[listening])
    finally:
        operations.stop()
        for part in (operations.dispatcher.inner, operations.source):
            close = getattr(part, "close", None)
            if close is not None:
                close()
        operations.store.close()
        send_rest()


def settings_for(options: ServeOptions) -> ApiSettings:
    """The limits that were asked for, and the doors that go with where the server listens."""
    return replace(
        options.settings,
        tokens_are_needed=options.settings.tokens_are_needed or not is_loopback(options.host),
        stale_after_s=_STALE_INTERVALS * _wall_interval_s(options),
    )


def _start_tracing(options: ServeOptions) -> Callable[[], None]:
    """Collect spans where that is asked for; what sends the last of them."""
    if options.traces is None:
        return lambda: None
    tracer, send_rest = open_tracer(options.traces)
    collect_spans(tracer)
    return send_rest


def _address(listening: socket.socket, operations: Operations, options: ServeOptions) -> dict[str, object]:
    scheme = "http" if options.tls_certificate is None else "https"
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return {
        "url": f"{scheme}://{shown}:{port}",
        "planner": operations.planner_name,
        "mode": operations.gate.stops().mode.value,
        "store": options.store_url.split("@")[-1],
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line; extra fields ride along."""

    _OWN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document.update({name: value for name, value in record.__dict__.items() if name not in self._OWN})
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def log_as_json(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger("edgewright")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


def _open_store(options: ServeOptions, topology: Topology) -> Store:
    store = Store.open(options.store_url)
    try:
        refuse_another_network(store, topology)
    except AgentError:
        store.close()
        raise
    return store


def _embedded_loop(options: ServeOptions, topology: Topology) -> ControlLoop:
    network = DeferredNetwork(topology, lambda: _build_network(options))
    return ControlLoop(
        source=network,
        pipeline=EdgePipeline(topology, interval_s=options.interval_s),
        planner=_planner(options),
        dispatcher=InProcessDispatcher(network, topology),
        interval_s=options.interval_s,
    )


def _broker_loop(options: ServeOptions, topology: Topology) -> ControlLoop:
    from agent.dispatch.mqtt import MqttDispatcher
    from api.broker_feed import BrokerFeed
    from telemetry_sim.mqtt_target import parse_broker

    broker = parse_broker(options.broker or "")
    feed = BrokerFeed(broker, topology, interval_s=_wall_interval_s(options))
    return ControlLoop(
        source=feed,
        # The loop asks a pipeline for nothing but digests.
        pipeline=cast("EdgePipeline", feed),
        planner=_planner(options),
        dispatcher=MqttDispatcher(broker, topology),
        interval_s=options.interval_s,
    )


def _build_network(options: ServeOptions) -> Network:
    from agent.bootstrap import build_network

    return cast("Network", build_network(options.scenario, seed=options.seed, num_devices=options.num_devices))


def _planner(options: ServeOptions) -> Planner:
    from agent.planner import GatedModelPlanner, baseline_planners

    if options.planner in _MODEL_PLANNERS:
        if options.model is None and options.adapter is None:
            return GatedModelPlanner(model=DeferredModel())
        return GatedModelPlanner(model=_load_or_warn(options.model, adapter=options.adapter))
    if options.model is not None or options.adapter is not None:
        raise ServerMisconfigured(f"planner {options.planner!r} asks no model: leave --model and --adapter out")
    known = {planner.name: planner for planner in baseline_planners()}
    if options.planner not in known:
        raise ServerMisconfigured(
            f"planner {options.planner!r}: expected {', '.join(_MODEL_PLANNERS)} or one of {', '.join(known)}"
        )
    return known[options.planner]


def _load_or_warn(model: str | None, *, adapter: Path | None) -> PolicyModel:
    from agent.bootstrap import load_model_or_absent

    loaded, warning = load_model_or_absent(model, adapter=adapter)
    if warning:
        logging.getLogger("edgewright.serve").warning("%s; the expert decides instead", warning)
    return loaded


def _wall_interval_s(options: ServeOptions) -> float:
    """Wall-clock time in which an interval's digests come; edges may be slower than a pace that was asked for."""
    return max(options.interval_s, options.pace_s)


def _check_exposure(options: ServeOptions) -> None:
    if (options.tls_certificate is None) != (options.tls_key is None):
        raise ServerMisconfigured("TLS needs both a certificate and a key")
    if options.tls_certificate is None or options.tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_certificate, options.tls_key)
    except OSError as error:
        files = f"certificate {str(options.tls_certificate)!r}, key {str(options.tls_key)!r}"
        raise ServerMisconfigured(f"TLS {files}: {error}; a PEM certificate and its own key were expected") from error


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sees TCP and turns Nagle's algorithm off; without, every answer waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise ServerMisconfigured(f"{host}:{port} can't be listened on: {error}") from error
    return listening
