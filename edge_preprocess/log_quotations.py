"""What a line's writer says in its own words, apart from what others may have put into it.

Equipment seldom escapes the names that it prints, so a name may hold quotes of its own and look as if it had ended.
Nothing between the first quotation and the last quote of its kind can be told from such a name, so none of it counts.
"""

from __future__ import annotations

import json
import re
from typing import Any

_SPOKEN_KEYS = "msg|message|event|error|err|alarm|reason|cause"
_SPOKEN = re.compile(rf"\"?\b(?:{_SPOKEN_KEYS})\"?\s*[=:]\s*\"(?P<words>(?:[^\"\\]|\\.)*)\"", re.IGNORECASE)
"""What the equipment itself says in key=value lines."""
_IS_SPOKEN = re.compile(_SPOKEN_KEYS, re.IGNORECASE)
_OPENS = re.compile(r"[\"`]|(?<!\w)'")
_QUOTATION = re.compile(r"\".*\"|`.*`|(?<!\w)'.*'(?!\w)|(?<=[=:])[\"'`].*", re.DOTALL)
"""From the first quote to the last of its kind; a value that was opened and cut off runs to the end."""
_CUT_OFF = re.compile(r"[\"'`].*", re.DOTALL)
_NAMED = re.compile(
    r"(?:\b(?:user ?name|user|login|name|ssid|label|title|topic|unit|tag|comment|description|note)"
    r"(?:=|\s=\s|:\s?)|(?<=for |.of |.by )(?:invalid )?(?:user|login|account) |(?<=invalid )user )\S*",
    re.IGNORECASE,
)
"""A key or a word that announces a name, and the name: whoever chose it may have chosen a word of alarm."""
_WILDCARD = "<*>"


def own_words(text: str) -> str:
    """The text without quotations and the values of names; what equipment says of itself in quotes stays."""
    said = _said_in_json(text) if text[:1] == "{" else None
    if said is not None:
        return said
    kept, position = [], 0
    # A saying counts until somebody else is quoted: what comes later may be part of a name.
    while (spoken := _spoken_next(text, position)) is not None:
        kept += [text[position : spoken.start()], spoken["words"]]
        position = spoken.end()
    # JSON that can't be read was cut off: where its strings end is anybody's guess.
    quotation = _CUT_OFF if text[:1] == "{" else _QUOTATION
    kept.append(quotation.sub(" ", text[position:]))
    return _NAMED.sub(" ", " ".join(kept))


def _spoken_next(text: str, position: int) -> re.Match[str] | None:
    """The saying that holds the next quote."""
    spoken = _SPOKEN.search(text, position)
    if spoken is None:
        return None
    opens = _OPENS.search(text, position)
    return spoken if opens is not None and spoken.start() <= opens.start() <= spoken.start("words") else None


def _said_in_json(text: str) -> str | None:
    """The sayings of a line that is one JSON object; None for any other and for one that repeats a key."""
    said: list[str] = []

    def read(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")
        said.extend(value for key, value in pairs if isinstance(value, str) and _IS_SPOKEN.fullmatch(key))

    try:
        json.loads(text.replace(_WILDCARD, "0"), object_pairs_hook=read)
    except (ValueError, RecursionError):
        return None
    return " ".join(said)
