"""How fast the chat is with the embedded model: cold one-shot, first token, whole answers."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from agent.chat.opening import RoomOptions, open_room, pick_chat_model
from agent.chat.session import ChatSession
from agent.store.store import Store

_REQUESTS = (
    "status",
    "which cell is worst right now and why?",
    "how is cell 2 doing?",
    "what if cell 1 goes down",
    "propose a plan",
    "show the diff",
    "explain the decision",
    "compare the planners",
    "show the history",
    "list the incidents",
)
_COLD = ("--once", "which cell is worst right now and why?", "--json", "--planner", "optimiser")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    subprocess.run(  # our own command, timed from outside
        [sys.executable, "-c", "from agent.command_line import main; main()", "chat", *_COLD],
        check=True,
        capture_output=True,
    )
    cold_s = time.perf_counter() - began
    with Store.open("sqlite://") as store:
        room = open_room(RoomOptions(planner="optimiser"), store)
        session = ChatSession(room, pick_chat_model(None, room.topology))
        session.ask("status")
        answers = [session.ask(request) for request in _REQUESTS]
        version = room.gate.desired.version
    figures = [
        _figure("cold --once, s", cold_s, 8.0),
        _figure("first token, p95 s", np.percentile([a.first_token_s for a in answers], 95), 0.3),
        _figure("answer, p95 s", np.percentile([a.elapsed_s for a in answers], 95), 1.5),
        _figure("versions dispatched without approval", version, 0),
    ]
    if options.json:
        print(json.dumps({"figures": figures}, indent=2))
        return
    for figure in figures:
        print(f"{figure['figure']:40} {figure['measured']:8} target {figure['target']:6} {figure['holds']}")


def _figure(name: str, measured: float, target: float) -> dict[str, object]:
    return {
        "figure": name,
        "measured": round(float(measured), 4),
        "target": target,
        "holds": bool(measured <= target),
    }


if __name__ == "__main__":
    main()
