"""Compiled functions: nothing is paid for before a first call, and they call each other."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from telemetry_sim.compiled import elementwise, njit


@njit
def _double(value: float) -> float:
    """Twice the value."""
    return 2.0 * value


@njit
def _double_twice(value: float) -> float:
    return _double(_double(value))


def test_whoever_only_imports_the_simulator_and_the_edge_never_loads_numba() -> None:
    code = (
        "import sys; import telemetry_sim.network, edge_preprocess.pipeline, edge_preprocess.novelty;"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_compiled_function_calls_another() -> None:
    assert _double_twice(1.5) == 6.0


def test_a_compiled_function_keeps_its_name_and_text() -> None:
    assert (_double.__name__, _double.__doc__) == ("_double", "Twice the value.")


def test_a_compiled_function_broadcasts_over_arrays() -> None:
    np.testing.assert_array_equal(elementwise(_double_twice)(np.array([0.0, 1.0])), [0.0, 4.0])
