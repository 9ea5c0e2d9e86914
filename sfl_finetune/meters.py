"""Meters of memory: tensors that live, tensors that autograd saves, and the process's resident pages."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from sfl_finetune.errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable


class TensorMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its hook untyped
    """Bytes of the tensors made while it is on and still alive."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: set[int] = set()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Leave out tensors that were there before, such as weights, however often views of them are made."""
        for tensor in tensors:
            self._known.add(_key(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and follow the storages of its results."""
        del types
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._follow, result)
        return result

    def _follow(self, tensor: Tensor) -> Tensor:
        key = _key(tensor)
        if key not in self._known:
            storage = tensor.untyped_storage()
            size = storage.nbytes()
            self._known.add(key)
            self.live_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
            weakref.finalize(storage, self._forget, key, size)
        return tensor

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the storage's identity; meta tensors have no address


class SavedTensorMeter:
    """Bytes that autograd saves for the backward pass, each storage once; weights given to it are left out."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        """Counting begins on entry."""
        self._skip = {_key(weight) for weight in weights}
        self.sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            if _key(tensor) not in self._skip:
                self.sizes[_key(tensor)] = tensor.untyped_storage().nbytes()
            return tensor

        self._hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)

    def __enter__(self) -> Self:
        """Begin to count."""
        self._hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; what was counted stays."""
        self._hooks.__exit__()

    @property
    def saved_bytes(self) -> int:
        """What was saved so far."""
        return sum(self.sizes.values())


class ResidentMeter:
    """How far the process's resident memory rises while it is on; Linux only.

    The allocator must give freed memory back (MALLOC_MMAP_THRESHOLD_=65536 for glibc), or its reserve is measured too.
    """

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self.rise_bytes = 0
        self._before = 0

    def __enter__(self) -> Self:
        """Reset the kernel's high-water mark."""
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _status_bytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        """Read the mark."""
        self.rise_bytes = _status_bytes("VmHWM") - self._before


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SettingInvalid(f"this system's /proc/self/status has no {field}")
