"""Prints a conversation held in a real terminal, as typed and printed: the one in the documentation.

.venv/bin/python benchmarks/chat_transcript.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.terminal_stage import transcript


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        print(transcript(Path(home), *sys.argv[1:]), end="")


if __name__ == "__main__":
    main()
