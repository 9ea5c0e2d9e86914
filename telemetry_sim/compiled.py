"""Numba's compilers with types that mypy can follow. Scalar code is cached beside the module that owns it.

Numba itself is imported at the first call of any compiled function: whoever only imports the modules never pays for it.
"""

from __future__ import annotations

import threading
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")

_MAKING = threading.RLock()


class CompiledLater(Generic[P, R]):
    """Stands for a function until its first call; other compiled functions may call it like one of numba's own."""

    def __init__(self, function: Callable[P, R], make: Callable[[Callable[P, R]], Any]) -> None:
        self.py_func = function
        self._make = make
        self._made: Any = None
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        # Several hundred thousand calls a second pass here, so nothing stands between.
        return cast("R", (self._made or self._resolve())(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        # Numba asks a global for `_numba_type_`, and so types a call of this object as a call of what it made.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def _resolve(self) -> Any:
        with _MAKING:
            if self._made is None:
                self._made = self._make(self.py_func)
            return self._made


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """The same function as machine code, compiled at its first call; callable from other compiled functions."""
    return CompiledLater(function, partial(_jit, cache=True, error_model="numpy"))


def elementwise(function: Callable[..., Any]) -> Callable[..., NDArray[Any]]:
    """A compiled scalar function as a NumPy ufunc that broadcasts over arrays."""
    # Not cached: numba keys its cache by the Python function, and `njit` already holds that entry with another layout.
    return CompiledLater(getattr(function, "py_func", function), _vectorize)


def as_float(values: ArrayLike) -> NDArray[np.float64]:
    """Values as a float64 array, so that a ufunc compiles once and not per input type."""
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """As `njit`, and the interpreter's lock is released while it runs: threads may share the work."""
    return CompiledLater(function, partial(_jit, cache=True, error_model="numpy", nogil=True))


def reordering_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """As `kernel`, and sums may be reordered and NaN taken for impossible, so that many values go at once."""
    return CompiledLater(function, partial(_jit, cache=True, fastmath=True, nogil=True))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """As `njit`, for the functions of a kernel that allocate no array: inlined, and no references are counted in them.

    A call that is not inlined copies every array of the state it is handed, about a hundred words, and numba counts
    references, atomically, whenever an array passes a call or leaves a tuple: both cost more than the physics.
    """
    return CompiledLater(function, partial(_jit, cache=True, error_model="numpy", _nrt=False, forceinline=True))


def _jit(function: Callable[..., Any], **options: object) -> Any:
    import numba

    return numba.njit(**options)(function)


def _vectorize(function: Callable[..., Any]) -> Any:
    import numba

    return numba.vectorize(nopython=True)(function)
