"""Other people's libraries, run by an interpreter of their own because their pins don't agree with ours.

    python3.11 -m venv .venv-peers
    .venv-peers/bin/pip install drain3 river

A benchmark takes the interpreter from --peer-python, else from EDGEWRIGHT_PEER_PYTHON, else from .venv-peers beside
this folder, else its own. What is missing there is reported as absent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

_HERE = Path(__file__).resolve().parent
_ABSENT = 3
"""Exit status of a peer's script where its library is not installed."""


def add_peer_option(parser: argparse.ArgumentParser) -> None:
    """The option --peer-python."""
    parser.add_argument("--peer-python", type=Path, help="interpreter that has drain3 and river (see peers.py)")


def ask_peer(script: str, question: dict[str, Any], python: Path | None) -> dict[str, Any] | None:
    """What a script in this folder answers to a JSON question; None where its library is absent."""
    command = [str(python or _default_python()), str(_HERE / script)]
    found = subprocess.run(command, input=json.dumps(question).encode(), stdout=subprocess.PIPE, check=False)
    if found.returncode == _ABSENT:
        print(f"{command[0]} has not what {script} needs: its figures are absent (see peers.py)", file=sys.stderr)
        return None
    found.check_returncode()
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def _default_python() -> Path:
    named = os.environ.get("EDGEWRIGHT_PEER_PYTHON")
    beside = _HERE.parent / ".venv-peers" / "bin" / "python"
    return Path(named) if named else beside if beside.exists() else Path(sys.executable)
