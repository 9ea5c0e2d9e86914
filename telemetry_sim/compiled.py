"""Numba's compilers with types that mypy can follow. Scalar code is cached beside the module that owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """The same function as machine code, compiled at its first call; callable from other compiled functions."""
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy")(function))


def elementwise(function: Callable[..., Any]) -> Callable[..., NDArray[Any]]:
    """A compiled scalar function as a NumPy ufunc that broadcasts over arrays."""
    python_function = getattr(function, "py_func", function)
    # Not cached: numba keys its cache by the Python function, and `njit` already holds that entry with another layout.
    return cast("Callable[..., NDArray[Any]]", numba.vectorize(nopython=True)(python_function))


def as_float(values: ArrayLike) -> NDArray[np.float64]:
    """Values as a float64 array, so that a ufunc compiles once and not per input type."""
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """As `njit`, and the interpreter's lock is released while it runs: threads may share the work."""
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", nogil=True)(function))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """As `njit`, for the functions of a kernel that allocate no array: inlined, and no references are counted in them.

    A call that is not inlined copies every array of the state it is handed, about a hundred words, and numba counts
    references, atomically, whenever an array passes a call or leaves a tuple: both cost more than the physics.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)(function))
