"""Names that stand for addresses and identifiers once they leave a site.

Equal texts get equal names at one site, so that events can be told apart and joined; without the site's key a name says
nothing about its text, and another site's names can't be joined with it. Source: RFC 7693, 2.9 (keyed BLAKE2b).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING

from edge_preprocess.errors import SiteKeyUnusable
from edge_preprocess.log_masking import VariableKind

if TYPE_CHECKING:
    from pathlib import Path

    from edge_preprocess.log_match import LogParameter

_MIN_BYTES, _MAX_BYTES = 16, 64
_NAME_BYTES = 8
_NUMBERS = frozenset({VariableKind.NUMBER, VariableKind.QUANTITY})
_LONE_NUMBER = re.compile(r"[+\-]?\d{1,7}(?:\.\d{1,7})?(?:e[+\-]?\d{1,2})?(?: ?[A-Za-zµ°%/]{1,8})?", re.ASCII)
"""Longer ones may be call numbers, several dots an address. Source: 3GPP TS 23.003, 2.2 and 6.2."""


class SiteKey:
    """The secret of one site."""

    def __init__(self, secret: bytes) -> None:
        if not _MIN_BYTES <= len(secret) <= _MAX_BYTES:
            raise SiteKeyUnusable(f"site key of {len(secret)} bytes, allowed are {_MIN_BYTES} to {_MAX_BYTES}")
        self._secret = secret

    @classmethod
    def load(cls, path: Path) -> SiteKey:
        """The key in a file, which is made with a fresh secret where there is none."""
        try:
            if not path.exists():
                _write_fresh(path)
            with path.open("rb") as file:
                return cls(file.read(_MAX_BYTES + 1))
        except OSError as error:
            raise SiteKeyUnusable(f"site key {str(path)!r}: {error.strerror}, a readable file is needed") from error

    def name_of(self, text: str, kind: str) -> str:
        """What stands for a text of a kind: the kind and 64 bits."""
        digest = hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"),
            digest_size=_NAME_BYTES,
            key=self._secret,
            person=kind.encode()[:16],
        )
        return f"{kind}-{digest.hexdigest()}"

    def exported(self, parameter: LogParameter) -> str:
        """A parameter as it may leave: lone short numbers and words of truth in clear, everything else as a name."""
        kind, text, stands_alone = parameter
        is_number = stands_alone and kind in _NUMBERS and _LONE_NUMBER.fullmatch(text) is not None
        return text if is_number or kind is VariableKind.TRUTH else self.name_of(text, kind)


def _write_fresh(path: Path) -> None:
    """A new secret that only the owner can read; whoever comes second finds the first one's."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(_NAME_BYTES * 4))
