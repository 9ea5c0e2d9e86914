"""The command `edge`: an edge node as a process."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry_sim.finite_range import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import BinaryIO

    from edge_preprocess.edge_mqtt import BrokerSource
    from edge_preprocess.edge_node import EdgeNode
    from telemetry_sim.topology import Topology


@click.command()
@click.argument("source")
@click.option(
    "--state", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="The node's folder."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Digests, a JSON line each."
)
@click.option("--topology", "topology_file", type=click.Path(path_type=Path, dir_okay=False), help="Topology as JSON.")
@click.option("--interval", "interval_s", type=FiniteRange(min=0.1), default=10.0, show_default=True, help="Seconds.")
@click.option("--sla-risk", is_flag=True, help="Add each slice's chance of missing its target in the next interval.")
@click.option("--keep-open", is_flag=True, help="At the source's end, keep the open interval for the next start.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
def edge(
    source: str,
    folder: Path,
    out: Path,
    topology_file: Path | None,
    interval_s: float,
    *,
    sla_risk: bool,
    keep_open: bool,
    as_json: bool,
) -> None:
    """Run an edge node on SOURCE: JSON lines of topology, frames and log lines.

    SOURCE is a file, - for a pipe, or mqtt://[user:password@]host[:port][/client-name], where digests are sent, too.

    Ctrl-C or SIGTERM ends it; started again with the same --state and --out it goes on where it was and loses or
    repeats no interval, even after it was killed.
    """
    from edge_preprocess.distinct_files import check_distinct
    from edge_preprocess.edge_node import EdgeNode

    broker = _broker(source)
    is_pipe = source == "-" or broker is not None or Path(source).is_fifo()
    check_distinct({"SOURCE": None if broker else Path(source), "--topology": topology_file, "--out": out})
    node = EdgeNode(
        folder,
        out,
        interval_s=interval_s,
        topology=_topology(topology_file),
        is_journalled=is_pipe,
        with_sla_risk=sla_risk,
        outbox=broker,
    )
    ended_by = "source"
    try:
        if broker is not None:
            with _ending_on_signals():
                broker.run(node.accept, recent=lambda: node.recent)
        else:
            with _opened(Path(source)) as file, _ending_on_signals():
                (_take_pipe if is_pipe else _take_file)(node, file, keep_open=keep_open)
    except _Stop:
        ended_by = "signal"
    node.stop()
    untold = dict(node.untold)
    summary = {"digests": node.num_digests, "out": str(out), "ended": ended_by, "untold": untold}
    click.echo(json.dumps(summary) if as_json else f"{node.num_digests} digests written to {out}", err=not as_json)
    if untold:
        reasons = ", ".join(f"{reason} {count}" for reason, count in untold.items())
        click.echo(f"{sum(untold.values())} lines or rows could not be taken and are in no digest: {reasons}", err=True)


class _Stop(Exception):
    """SIGTERM or Ctrl-C."""


def _broker(source: str) -> BrokerSource | None:
    """The broker that a URL names; None for a file or a pipe."""
    from edge_preprocess.edge_mqtt import BrokerSource, BrokerUrl

    return BrokerSource(BrokerUrl.parse(source)) if source.startswith("mqtt:") else None


def _take_pipe(node: EdgeNode, file: BinaryIO, *, keep_open: bool) -> None:
    """Feed the node to the pipe's end."""
    from edge_preprocess.wire import MAX_LINE_BYTES

    while raw := file.readline(MAX_LINE_BYTES + 1):
        if raw.strip():
            node.accept(raw)
    if not keep_open:
        node.finish()


def _take_file(node: EdgeNode, file: BinaryIO, *, keep_open: bool) -> None:
    """Feed the node what the file holds beyond what it has read."""
    from edge_preprocess.edge_file import EdgeFile

    lines = EdgeFile(node, file)
    lines.read()
    if not keep_open:
        lines.finish()


@contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    from edge_preprocess.errors import SourceUnreadable

    if str(source) == "-":
        yield sys.stdin.buffer
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise SourceUnreadable(
            f"{str(source)!r}: {error.strerror}; a readable file of JSON lines was expected"
        ) from error
    with file:
        yield file


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Stop

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _topology(path: Path | None) -> Topology | None:
    from pydantic import ValidationError

    from edge_preprocess.errors import SourceUnreadable
    from telemetry_sim.topology import Topology

    if path is None:
        return None
    try:
        return Topology.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SourceUnreadable(f"--topology {str(path)!r}: {error}") from error
