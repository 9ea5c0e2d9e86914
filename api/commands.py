"""`edgewright serve`: the REST policy endpoint."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import click

from telemetry_sim.finite_range import FiniteRange

_MODES = ("suggest-only", "supervised", "autonomous")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free port.")
@click.option("--store", "store_url", default="sqlite:///edgewright.db", show_default=True, help="Database URL.")
@click.option("--planner", default="llm", show_default=True, help="llm (or llm_gated), optimiser or another baseline.")
@click.option("--model", help="Model folder, cached hub name or OpenAI-compatible URL; the embedded one by default.")
@click.option("--adapter", type=click.Path(exists=True, path_type=Path), help="PEFT adapter folder.")
@click.option("--scenario", default="smart-city", show_default=True, help="The embedded network.")
@click.option("--devices", type=click.IntRange(min=1), help="Devices of the embedded network.")
@click.option("--broker", metavar="HOST:PORT", help="Serve the network behind this MQTT broker instead.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option(
    "--interval",
    "interval_s",
    type=FiniteRange(min=1.0),
    default=10.0,
    show_default=True,
    help="Decision interval in seconds of network time.",
)
@click.option(
    "--pace",
    "pace_s",
    type=FiniteRange(min=0.0),
    help="Seconds of wall-clock time for an interval; the interval's own length by default.",
)
@click.option("--mode", type=click.Choice(_MODES), help="Until an operator sets another; autonomous for a simulation.")
@click.option(
    "--max-share-step",
    type=click.IntRange(1, 100),
    default=60,
    show_default=True,
    help="Most points of a cell that a slice's share may move in one interval.",
)
@click.option("--allow-callback", multiple=True, metavar="HOST", help="Host that status notifications may go to.")
@click.option("--allow-local-callbacks", is_flag=True, help="Let them go to loopback and private addresses.")
@click.option("--allow-host", multiple=True, metavar="HOST", help="Name that may stand for loopback without a token.")
@click.option("--require-token", is_flag=True, help="Refuse callers without a token even on loopback.")
@click.option("--new-token", metavar="NAME:ROLE", help="Make an API token (viewer, operator, approver), show it, end.")
@click.option("--tls-certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--rate-limit",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Requests a second that one caller may make.",
)
@click.option("--traces", metavar="URL", help="Send OpenTelemetry traces to this OTLP/HTTP endpoint (extra: otel).")
@click.option("--simulator-mode", is_flag=True, help="Emulate O-RAN's A1 simulator beside the conformant interface.")
@click.option(
    "--log-level", type=click.Choice(("debug", "info", "warning", "error")), default="warning", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON document.")
def serve(
    host: str,
    port: int,
    store_url: str,
    planner: str,
    model: str | None,
    adapter: Path | None,
    scenario: str,
    devices: int | None,
    broker: str | None,
    seed: int,
    interval_s: float,
    pace_s: float | None,
    mode: str | None,
    max_share_step: int,
    allow_callback: tuple[str, ...],
    allow_local_callbacks: bool,
    allow_host: tuple[str, ...],
    require_token: bool,
    new_token: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    rate_limit: int,
    traces: str | None,
    simulator_mode: bool,
    log_level: str,
    as_json: bool,
) -> None:
    """Serve A1-P v2 and the operator API over a simulated network, until interrupted."""
    if new_token is not None:
        _make_token(store_url, new_token, as_json)
        return
    # Looking for garbage among modules that are being loaded takes a tenth of the start; `serve` turns it on again.
    gc.disable()
    from agent.gate.risk import Mode
    from api.serving import ServeOptions, log_as_json
    from api.serving import serve as run_server
    from api.settings import ApiSettings

    log_as_json(log_level)
    options = ServeOptions(
        host=host,
        port=port,
        store_url=store_url,
        planner=planner,
        model=model,
        adapter=adapter,
        scenario=scenario,
        num_devices=devices,
        broker=broker,
        seed=seed,
        interval_s=interval_s,
        pace_s=interval_s if pace_s is None else pace_s,
        mode=None if mode is None else Mode(mode),
        max_share_step_pct=max_share_step,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        traces=traces,
        settings=ApiSettings(
            tokens_are_needed=require_token,
            local_hosts=frozenset(allow_host),
            callback_hosts=frozenset(allow_callback),
            callbacks_may_be_local=allow_local_callbacks,
            simulator_mode=simulator_mode,
            requests_per_s=rate_limit,
            burst=rate_limit,
        ),
    )

    def announce(document: dict[str, object]) -> None:
        line = (
            json.dumps(document)
            if as_json
            else f"Serving {document['url']} ({document['planner']}, {document['mode']})"
        )
        click.echo(line)

    try:
        run_server(options, announce)
    finally:
        gc.enable()


def _make_token(store_url: str, new_token: str, as_json: bool) -> None:
    from agent.store.store import Store
    from agent.store.tokens import create_token

    name, _, role = new_token.partition(":")
    if not (name and role):
        raise click.BadParameter(f"{new_token!r}: expected NAME:ROLE, such as ann:operator", param_hint="--new-token")
    with Store.open(store_url) as store:
        token = store.write(lambda t: create_token(t, name=name, role=role, lifetime_s=None, actor="command line"))
    click.echo(json.dumps({"name": name, "role": role, "token": token}) if as_json else token)
