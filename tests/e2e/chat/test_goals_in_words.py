"""Goals in words become the goal object, with their conditions; what is not understood is asked about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.models.chat_model import EMBEDDED_OPERATOR
from agent.models.operator_language import Value, call
from agent.models.operator_model import OperatorModel, load_operator_model
from telemetry_sim.scenarios import scenario

pytestmark = pytest.mark.skipif(
    not (EMBEDDED_OPERATOR / "model.safetensors").is_file(), reason="`edgewright pretrain --task operator` was not run"
)
_ROBOTS = "keep the robots below 10 ms, video may suffer"
_NAMED = "keep motion-control below 10 ms, inspection may suffer"


@pytest.fixture(scope="module")
def model() -> OperatorModel:
    return load_operator_model(EMBEDDED_OPERATOR)


@pytest.mark.parametrize(
    ("text", "site", "goal"),
    [
        (_NAMED, "industrial-iot", {"metric": "delay_ms", "value": 10, "slice": 1, "yields": 3}),
        (_ROBOTS, "industrial-iot", {"metric": "delay_ms", "value": 10, "slice": 1, "yields": 3}),
        (_ROBOTS, "smart-city", {"metric": "delay_ms", "value": 10, "slice": 4, "yields": 1}),
        (
            "keep telesurgery under 5 ms even if video suffers",
            "ehealth",
            {"metric": "delay_ms", "value": 5, "slice": 1, "yields": 3},
        ),
        (
            "cap cameras at 20 Mb/s each until the outage ends",
            "smart-city",
            {"metric": "rate_mbps", "value": 20, "slice": 1, "when": "cell_down"},
        ),
        ("save energy tonight, nothing below its guarantee", "smart-city", {"metric": "energy"}),
    ],
)
def test_a_goal_in_words_is_a_goal(model: OperatorModel, text: str, site: str, goal: dict[str, Value]) -> None:
    slices = scenario(site).topology.slices
    names, aliases = [profile.name for profile in slices], [profile.aliases for profile in slices]
    assert model.read(text, cells=range(1, 20), slices=names, aliases=aliases).calls == (call("set_goal", goal),)


def test_a_goal_for_a_slice_that_is_not_there_is_asked_about(model: OperatorModel) -> None:
    slices = ("cameras", "signal-control", "metering", "vehicles")
    (asked,) = model.read(_ROBOTS, cells=range(1, 20), slices=slices).calls
    assert asked.tool == "ask"


@pytest.mark.slow
@pytest.mark.parametrize(("text", "site"), [(_NAMED, "industrial-iot"), (_ROBOTS, "smart-city")])
def test_the_command_line_gives_the_goal_object(tmp_path: Path, text: str, site: str) -> None:
    command = [sys.executable, "-c", "from agent.command_line import main; main()", "chat", "--planner", "optimiser"]
    options = ["--scenario", site, "--devices", "40", "--once", text, "--json"]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run([*command, *options], capture_output=True, timeout=300, check=False, env=environment)
    document = json.loads(done.stdout)
    goal = document["pending"][0]["resolved"]["goal"]
    assert [(e["metric"], e["value"]) for e in goal["expectations"]] == [("delay_ms", 10.0), ("priority", 0.33)]
    assert done.returncode == document["exit_status"] == 5
