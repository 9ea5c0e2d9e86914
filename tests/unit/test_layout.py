"""The house itself: which checkout is tested, what the command line costs, which names are not used."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

import agent
import api

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "api", "edge_preprocess", "sfl_finetune", "telemetry_sim")
HEAVY = ("torch", "transformers", "peft", "matplotlib", "langchain", "langgraph")
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["edgewright.commands"]


@pytest.mark.parametrize("package", [agent, api])
def test_the_packages_under_test_lie_in_this_checkout(package: object) -> None:
    assert Path(str(getattr(package, "__file__", ""))).resolve().is_relative_to(ROOT)


def test_help_imports_nothing_heavy() -> None:
    asked = "import sys; from agent.command_line import cli; cli(['--help'], standalone_mode=False); "
    shown = f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", asked + shown], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
    for name in DECLARED:
        assert f"  {name} " in done.stdout


def test_the_console_script_is_installed() -> None:
    scripts = entry_points(group="console_scripts", name="edgewright")

    assert [script.value for script in scripts] == ["agent.command_line:main"]
    assert (Path(sys.executable).parent / "edgewright").exists()


def test_installed_commands_are_the_declared_ones() -> None:
    assert {point.name: point.value for point in entry_points(group="edgewright.commands")} == DECLARED


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_each_command_loads(name: str) -> None:
    (point,) = entry_points(group="edgewright.commands", name=name)

    assert isinstance(point.load(), click.Command)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_has_a_name_that_says_nothing(package: str) -> None:
    names = {path.stem if path.suffix else path.name for path in (ROOT / package).rglob("*")}

    assert not names & {"utils", "common", "helpers", "helper", "base", "manager", "misc"}


def test_test_folders_hide_no_package() -> None:
    hidden = [str(path) for path in (ROOT / "tests").rglob("__init__.py")]

    assert hidden == []
