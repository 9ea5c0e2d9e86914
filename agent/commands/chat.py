"""`edgewright chat`: talk to the agent, in a terminal, in one shot, or through a pipe."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agent.chat.talk import Talk


@click.command()
@click.option("--once", default=None, help="Answer one request and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout: answer, calls and evidence.")
@click.option("--scenario", default="smart-city", show_default=True, help="Embedded network; see `simulate --list`.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0, 99_999))
@click.option("--devices", default=None, type=click.IntRange(4, 1_000_000), help="Default: the scenario's own number.")
@click.option("--planner", default="llm_gated", show_default=True, help="Who writes plans: llm_gated or a baseline.")
@click.option("--policy-model", default=None, help="Model folder or URL that writes plans. Default: the embedded one.")
@click.option("--model", default=None, help="Chat model: embedded, a folder, or provider:model[@URL].")
@click.option("--session", default=None, help="Name of the session: kept, and taken up again where it is known.")
@click.option("--resume", is_flag=True, help="Take up the session used last.")
@click.option(
    "--read-only/--allow-changes",
    "read_only",
    default=None,
    help="Whether changes can be asked for; with --server read-only is the default.",
)
@click.option("--server", default=None, help="Talk about a running `edgewright serve` instead: its URL.")
@click.option("--token", default=None, envvar="EDGEWRIGHT_TOKEN", help="Bearer token for --server.")
def chat(
    *,
    once: str | None,
    as_json: bool,
    scenario: str,
    seed: int,
    devices: int | None,
    planner: str,
    policy_model: str | None,
    model: str | None,
    session: str | None,
    resume: bool,
    read_only: bool | None,
    server: str | None,
    token: str | None,
) -> None:
    """Talk to the agent about a network: look, ask what-if, plan, approve, apply, roll back.

    Nothing changes without a person's yes to the very plan that is applied. In one-shot and piped use nobody can be
    asked, so a request for a change ends with exit status 5 and what would have been done.
    """
    from agent.chat.room_options import RoomOptions

    # Looking for garbage among modules that are being loaded takes a sixth of a cold start; turned on again behind it.
    gc.disable()
    folder = Path(click.get_app_dir("edgewright")) / "sessions"
    options = RoomOptions(
        scenario=scenario,
        seed=seed,
        num_devices=devices,
        planner=planner,
        policy_model=policy_model,
        is_read_only=server is not None if read_only is None else read_only,
        server=server,
        token=token,
    )
    if server is None and (session is not None or resume):
        from agent.chat.session_network import latest_session, with_own_network

        session, resume = latest_session(folder) if session is None else session, False
        options = with_own_network(options, folder, session, given=_network_options_given())
    if once is None and sys.stdin.isatty():
        from agent.chat.terminal import run_terminal

        run_terminal(options, model, folder, session=session, is_resumed=resume)
        return
    requests = [once] if once is not None else [line for line in _piped_lines() if line.strip()]
    if server is not None and _are_views(requests):
        _show_views(server, token, requests, as_json=as_json)
        return
    from agent.chat.talk_opening import open_talk

    _answer_all(open_talk(options, model, folder, name=session, is_resumed=resume), requests, as_json=as_json)


def _network_options_given() -> list[str]:
    """Fields of the options by which the command line itself names a network."""
    context = click.get_current_context()
    fields = {"scenario": "scenario", "seed": "seed", "devices": "num_devices"}
    given = click.core.ParameterSource.COMMANDLINE
    return [field for name, field in fields.items() if context.get_parameter_source(name) is given]


def _answer_all(talk: Talk, requests: list[str], *, as_json: bool) -> None:
    """Answer each request in turn, whatever became of the one before; the worst status ends the process."""
    from agent.chat.answer import answer_document
    from agent.chat.talk import Listener

    status = 0
    documents = []
    for request in requests:
        answer = talk.answer(request, Listener())
        gc.enable()
        status = max(status, answer.exit_status)
        documents.append(answer_document(request, answer))
        if not as_json:
            click.echo(answer.text, err=answer.exit_status in (1, 2) and not answer.calls)
    if as_json:
        click.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2, ensure_ascii=False))
    sys.exit(status)


def _piped_lines() -> list[str]:
    return sys.stdin.buffer.read().decode("utf-8", "replace").splitlines()


def _are_views(requests: list[str]) -> bool:
    from agent.chat.server_view import VIEWS

    return bool(requests) and all(request.strip().split(" ")[0] in VIEWS for request in requests)


def _show_views(url: str, token: str | None, requests: list[str], *, as_json: bool) -> None:
    """A server's documents as they are, without opening a chat."""
    from agent.chat.server_link import ServerLink
    from agent.chat.server_view import show_view

    with ServerLink(url, token) as link:
        for request in requests:
            found = show_view(link, request.strip())
            click.echo(json.dumps(found.data | {"answer": found.text}, indent=2) if as_json else found.text)
