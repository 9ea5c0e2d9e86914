"""Injected faults, and what was left after healing: every policy all-applied or all-reverted, nothing accepted lost.

.venv/bin/python benchmarks/chaos.py --json

Each fault is a line of the state file, so a long run can be stopped and taken up again (`--resume`).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.store.audit_trail import verify_trail
from agent.store.policies import PolicyStatus, find_policy
from benchmarks.chaos_faults import FAULTS
from benchmarks.chaos_rig import HEALED_WITHIN_S, Rig


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found after one fault had healed."""

    kind: str
    is_consistent: bool
    num_lost: int
    is_trail_intact: bool
    healed_after_s: float
    note: str = ""


def judge(rig: Rig, kind: str, note: str) -> Verdict:
    healed_after_s = rig.settles()
    latest = rig.gate.policy_in_force
    stored = None if latest is None else rig.store.read(lambda c: find_policy(c, latest.version))
    known = (PolicyStatus.ENFORCED, PolicyStatus.NOT_ENFORCED, PolicyStatus.ABORTED, PolicyStatus.DISPATCHING)
    num_lost = int(latest is not None and (stored is None or stored.status not in known))
    num_lost += int(note.endswith("lost") or note.startswith("kept"))
    return Verdict(
        kind=kind,
        is_consistent=healed_after_s is not None and not note.endswith("hangs"),
        num_lost=num_lost,
        is_trail_intact=rig.store.read(verify_trail).is_intact,
        healed_after_s=round(HEALED_WITHIN_S if healed_after_s is None else healed_after_s, 2),
        note=note if healed_after_s is not None else f"in force {rig.in_force()}, wanted {rig.wanted()} {note}",
    )


def table(verdicts: list[dict[str, object]]) -> list[dict[str, object]]:
    rows = []
    for kind in FAULTS:
        of_kind = [verdict for verdict in verdicts if verdict["kind"] == kind]
        if of_kind:
            rows.append(
                {
                    "fault": kind,
                    "injected": len(of_kind),
                    "inconsistent": sum(not verdict["is_consistent"] for verdict in of_kind),
                    "lost": sum(int(str(verdict["num_lost"])) for verdict in of_kind),
                    "trails_broken": sum(not verdict["is_trail_intact"] for verdict in of_kind),
                    "longest_to_settle_s": max(float(str(verdict["healed_after_s"])) for verdict in of_kind),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("chaos.jsonl"))
    parser.add_argument("--resume", action="store_true", help="go on where the state file ends")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    done: list[dict[str, object]] = []
    if arguments.resume and arguments.state.exists():
        done = [json.loads(line) for line in arguments.state.read_text().splitlines()]
    elif arguments.state.exists():
        arguments.state.unlink()
    kinds = list(FAULTS)
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        try:
            for number in range(len(done), arguments.faults):
                rng = random.Random(f"{arguments.seed}/{number}")
                kind = kinds[number % len(kinds)]
                verdict = judge(rig, kind, FAULTS[kind](rig, rng))
                row = {name: getattr(verdict, name) for name in Verdict.__slots__}
                done.append(row)
                with arguments.state.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{number + 1}/{arguments.faults} {row}", file=sys.stderr)
        finally:
            rig.close()
    rows = table(done)
    holds = all(row["inconsistent"] == row["lost"] == row["trails_broken"] == 0 for row in rows)
    document = {"faults": len(done), "target": "0 inconsistent, 0 lost, 0 trails broken", "holds": holds, "table": rows}
    print(json.dumps(document) if arguments.json else "\n".join(map(str, rows)))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
