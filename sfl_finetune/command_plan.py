"""`edgewright plan-split`: which cut, batch and rank each site gets on its device."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sfl_finetune.by_site import pairs
from sfl_finetune.finite_range import FiniteRange
from sfl_finetune.size_limits import MOST_STEPS, MOST_TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sfl_finetune.devices import Device, Registry
    from sfl_finetune.planning import Plan, Request

_USUAL_CUTS = (1, 2, 3)
_USUAL_TOKENS = 128


@click.command()
@click.option("--model", required=True, help="Folder (or cached name) of the base; its config.json is enough.")
@click.option("--site", "sites", multiple=True, required=True, help="SITE=DEVICE, once for every site.")
@click.option("--server", default="rtx-4080-super", show_default=True, help="The server's device.")
@click.option("--devices", type=click.Path(path_type=Path), help="YAML of devices and links beside the known ones.")
@click.option("--link", help="Name of each site's link to the server.")
@click.option("--mbps", type=FiniteRange(0.001), help="Link rate each way; 100 by default.")
@click.option("--shared-cell", is_flag=True, help="All sites divide one channel.")
@click.option(
    "--scheme", type=click.Choice(("lean", "memory_efficient", "sfl", "sl")), default="lean", show_default=True
)
@click.option("--precision", type=click.Choice(("fp32", "bf16")), help="Number format of the frozen base.")
@click.option(
    "--wire", type=click.Choice(("fp32", "bf16", "int8", "int4")), help="Format on the link; the scheme's own."
)
@click.option("--task", type=click.Choice(("causal_lm", "classification")), default="causal_lm", show_default=True)
@click.option("--cut", "cuts", multiple=True, type=int, help="Layers a site may keep; 1, 2 and 3 by default.")
@click.option(
    "--batch-size", default=16, show_default=True, type=click.IntRange(1, MOST_TEXTS), help="Wanted; halved to fit."
)
@click.option("--rank", default=16, show_default=True, type=click.IntRange(min=1), help="Wanted; halved twice to fit.")
@click.option("--site-ranks", is_flag=True, help="Lower the rank only of sites that need it; else all have one rank.")
@click.option(
    "--max-tokens", type=click.IntRange(min=2), help="Longest text; 128, or the model's limit below that, by default."
)
@click.option(
    "--local-steps", default=4, show_default=True, type=click.IntRange(1, MOST_STEPS), help="Steps a site a round."
)
@click.option("--u-shape", is_flag=True, help="Plan for head and labels at the sites.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def plan_split(**options: Any) -> None:
    """Choose each site's cut layer, batch and rank, so that everything fits and a round is shortest.

    Memory is predicted from shapes, time by the virtual clock. Where nothing fits, each shortfall is named (status 3).
    """
    from sfl_finetune.at_hand import folder_of

    folder_of(options["model"])
    from sfl_finetune.devices import read_registry
    from sfl_finetune.planning import make_plan

    registry = read_registry(options["devices"])
    devices = {site: registry.device(name) for site, name in pairs("--site", "DEVICE", options["sites"]).items()}
    request = _request(options, registry, devices)
    plan = make_plan(request)
    document = {
        "rank": plan.rank,
        "seconds_per_round": round(plan.seconds_per_round, 6),
        "server": {
            "device": request.server.name,
            "memory_gib": round(plan.server_gib, 4),
            "device_gib": request.server.memory_gib,
        },
        "sites": [
            asdict(one)
            | {
                "memory_gib": round(one.memory_gib, 4),
                "device": devices[one.client].name,
                "device_gib": devices[one.client].memory_gib,
            }
            for one in plan.assignments
        ],
        "finetune_options": _as_options(plan, request, options) if options["task"] == "causal_lm" else None,
    }
    click.echo(json.dumps(document) if options["as_json"] else _as_text(document))


def _request(options: Mapping[str, Any], registry: Registry, devices: Mapping[str, Device]) -> Request:
    from sfl_finetune.at_hand import most_tokens
    from sfl_finetune.errors import SettingInvalid
    from sfl_finetune.planning import Request
    from sfl_finetune.recipes import read_config
    from sfl_finetune.schemes import scheme_named

    config = read_config(options["model"])
    most, wanted = most_tokens(config), options["max_tokens"]
    if wanted is not None and wanted > most:
        raise SettingInvalid(f"--max-tokens {wanted}: the model takes 2 to {most}")
    batch, rank = options["batch_size"], options["rank"]
    return Request(
        config=config,
        task=options["task"],
        scheme=scheme_named(options["scheme"], wire=options["wire"], precision=options["precision"]),
        clients=tuple(replace(device, name=site) for site, device in devices.items()),
        server=registry.device(options["server"]),
        channel=replace(registry.channel(options["link"], options["mbps"]), is_shared_cell=options["shared_cell"]),
        num_tokens=wanted or min(_USUAL_TOKENS, most),
        cuts=options["cuts"] or tuple(cut for cut in _USUAL_CUTS if cut < config.num_hidden_layers),
        batch_sizes=tuple(batch >> halvings for halvings in range(batch.bit_length())),
        ranks=tuple(rank >> halvings for halvings in range(min(3, rank.bit_length()))),
        has_site_ranks=options["site_ranks"],
        is_u_shaped=options["u_shape"],
        local_steps=options["local_steps"],
    )


def _as_options(plan: Plan, request: Request, options: Mapping[str, Any]) -> str:
    """The plan in the words of `edgewright finetune`."""
    words = [f"--scheme {options['scheme']} --rank {plan.rank} --local-steps {options['local_steps']}"]
    words += [f"--{name} {options[name]}" for name in ("wire", "precision") if options[name]]
    words += ["--u-shape"] if request.is_u_shaped else []
    words.append(f"--max-tokens {request.num_tokens}")
    words += [f"--site-cut {one.client}={one.cut_layer}" for one in plan.assignments]
    words += [f"--site-batch {one.client}={one.batch_size}" for one in plan.assignments]
    smaller = [one for one in plan.assignments if one.rank < plan.rank]
    words += ["--aggregation svd"] if smaller else []
    words += [f"--site-rank {one.client}={one.rank}" for one in smaller]
    return " ".join(words)


def _as_text(document: Mapping[str, Any]) -> str:
    server = document["server"]
    lines = [f"{'site':16s} {'device':20s} {'cut':>4s} {'batch':>6s} {'rank':>5s} {'GiB':>8s} {'of':>7s}"]
    lines += [
        f"{one['client']:16s} {one['device']:20s} {one['cut_layer']:4d} {one['batch_size']:6d} {one['rank']:5d} "
        f"{one['memory_gib']:8.3f} {one['device_gib']:7.2f}"
        for one in document["sites"]
    ]
    lines.append(f"{'server':16s} {server['device']:20s} {server['memory_gib']:26.3f} {server['device_gib']:7.2f}")
    lines.append(f"A round takes {document['seconds_per_round']:.4g} s on the virtual clock.")
    if document["finetune_options"]:
        lines.append(f"edgewright finetune {document['finetune_options']}")
    return "\n".join(lines)
