"""Log text cut into constant words and typed variables by general rules alone.

The rules know what a number, an address, an identifier, a path or a time looks like anywhere; none of them knows a
system. A variable takes its whole chunk, a chunk being what stands between the delimiters of the published template
convention. Source of the convention: Khan et al., "Guidelines for Assessing the Accuracy of Log Message Template
Identification Techniques", ICSE 2022.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

WILDCARD = "<*>"
MAX_TOKENS = 400
"""What follows is one last variable, so that a line's cost stays bounded."""


class VariableKind(StrEnum):
    """What a variable part of a line holds."""

    NUMBER = "number"
    QUANTITY = "quantity"
    """A number with its unit."""
    HEX = "hex"
    ADDRESS = "address"
    HOST = "host"
    PATH = "path"
    URL = "url"
    TIME = "time"
    IDENTIFIER = "identifier"
    TRUTH = "truth"
    WORD = "word"
    """Free text: found variable because it varies, not by its form."""
    REST = "rest"
    """The tail of a line with too many tokens."""


class Token(NamedTuple):
    """A piece of a line: `kind` is None for constant text."""

    text: str
    """The raw text of a constant; of a variable the wildcard with what the convention keeps around it."""
    kind: VariableKind | None
    start: int
    end: int


_DELIMITERS = r"\s,!;:=|\"'\[\](){}.\-+@#$%&"
_CHUNK = rf"[^{_DELIMITERS}]+"
_STARTS = rf"(?<![^{_DELIMITERS}])"
_ENDS = rf"(?![^{_DELIMITERS}])"
_IN_PATH = r"[^\s,!;:=|\"'\[\](){}]"
_TOP_LEVEL = "com|net|org|edu|gov|mil|int|info|biz|local|lan|internal|arpa"

_SCANNER = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<ctime>{_STARTS}(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+\d+
      \s\d+:\d+:\d+(?:\s[A-Z]+)?\s\d+{_ENDS})
  | (?P<url>{_STARTS}(?:[A-Za-z][A-Za-z0-9]*\.)*[A-Za-z][A-Za-z0-9]*://[^\s"'<>,;)\]}}]+)
  | (?P<email>{_STARTS}[A-Za-z0-9][\w.+\-]*@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+)
  | (?P<wide>{_STARTS}(?:[0-9a-fA-F]{{1,4}}:){{4,7}}(?::?[0-9a-fA-F]{{1,4}}){_ENDS})
  | (?P<path>{_STARTS}(?:[A-Za-z]:\\|~?/)(?=[^\s]){_IN_PATH}+)
  | (?P<hostport>{_STARTS}[A-Za-z0-9](?:[\w\-]*[\w.\-])?\w(?=:\d\d+(?![\w:])))
  | (?P<host>{_STARTS}(?!(?:{_TOP_LEVEL})\.)[A-Za-z0-9][\w\-]*(?:\.[A-Za-z0-9][\w\-]*)*\.
      (?:{_TOP_LEVEL})(?:\.[a-z]{{2}})?{_ENDS}(?![.\-]\w))
  | (?P<numberedhost>{_STARTS}(?=[\w.\-]*[\d\-])[A-Za-z0-9][\w\-]*(?:\.[A-Za-z0-9][\w\-]*)+\.[a-z]{{2}}{_ENDS}
      (?![.\-]\w))
  | (?P<signedid>{_STARTS}[A-Za-z]\w*_-\d+{_ENDS})
  | (?P<version>{_STARTS}v\d+(?:\.\d+)+{_ENDS})
  | (?P<size>{_STARTS}[+\-]?\d+(?:\.\d+)?\s?[KMGTPkmgt]i?B(?:/s|ps)?{_ENDS})
  | (?P<signed>(?<![\w\].)\-+])[+\-]\d+(?:\.\d+)*(?:[eE][+\-]\d+)?{_ENDS})
  | (?P<number>{_STARTS}\d+(?:\.\d+)*(?:[eE][+\-]\d+)?{_ENDS})
  | (?P<empty>(?<=\s)\(\s*\)(?=\s|$))
  | (?P<chunk>{_CHUNK})
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEX = re.compile(r"[<(]?0[xX][0-9a-fA-F]+[>)]?|(?=[0-9a-fA-F]*\d)(?=[0-9]*[a-fA-F])[0-9a-fA-F]{6,}")
_LEADING_DIGIT = re.compile(r"[<>*~^?]*\d")
_UNIT = re.compile(r"\d+(?:[a-zA-Z]{1,3}|µs|°C)(?:/[a-zA-Z]+)?[>]?")
_NUMBERED = re.compile(r".*_\d+(?:_.*)?|.*\d\D+\d\D+\d.*|.*\d{4}.*|.*<.*\d.*")
_KINDS_OF_WORDS = {
    **dict.fromkeys(("true", "false"), VariableKind.TRUTH),
    # Names that stand for a value wherever they occur; the published convention's own list.
    **dict.fromkeys(("null", "root", "admin"), VariableKind.WORD),
}


def scan(text: str) -> list[Token]:
    """The tokens of one line's content; runs of white space come out as one blank."""
    tokens: list[Token] = []
    for found in _SCANNER.finditer(text):
        if len(tokens) >= MAX_TOKENS:
            tokens.append(Token(WILDCARD, VariableKind.REST, found.start(), len(text)))
            break
        _add(tokens, found)
    return tokens


def _add(tokens: list[Token], found: re.Match[str]) -> None:
    start, end, raw, group = found.start(), found.end(), found.group(), found.lastgroup
    if group == "space":
        tokens.append(Token(" ", None, start, end))
    elif group == "chunk":
        tokens.append(_classified(raw, start, end))
    elif group == "other":
        tokens.append(Token(raw, None, start, end))
    elif group == "url":
        scheme = raw.index("://") + 3
        tokens.append(Token(raw[:scheme], None, start, start + scheme))
        tokens.append(Token(WILDCARD, VariableKind.URL, start + scheme, end))
    elif group == "empty":
        tokens.append(Token("(", None, start, start + 1))
        tokens.append(Token(WILDCARD, VariableKind.WORD, start + 1, end - 1))
        tokens.append(Token(")", None, end - 1, end))
    else:
        tokens.append(Token(_RENDERED.get(group or "", WILDCARD), _KINDS[group or ""], start, end))


_RENDERED = {"ctime": "<*>:<*>:<*>"}
_KINDS = {
    "ctime": VariableKind.TIME,
    "email": VariableKind.ADDRESS,
    "wide": VariableKind.ADDRESS,
    "path": VariableKind.PATH,
    "hostport": VariableKind.HOST,
    "host": VariableKind.HOST,
    "numberedhost": VariableKind.HOST,
    "signedid": VariableKind.IDENTIFIER,
    "version": VariableKind.IDENTIFIER,
    "size": VariableKind.QUANTITY,
    "signed": VariableKind.NUMBER,
    "number": VariableKind.NUMBER,
}


def _classified(chunk: str, start: int, end: int) -> Token:
    """A chunk as constant or variable, by its form."""
    kind = _kind_of_numbered(chunk) if any(map(str.isdigit, chunk)) else _KINDS_OF_WORDS.get(chunk.lower())
    return Token(chunk if kind is None else WILDCARD, kind, start, end)


def _kind_of_numbered(chunk: str) -> VariableKind | None:
    if _HEX.fullmatch(chunk):
        return VariableKind.HEX
    if _LEADING_DIGIT.match(chunk):
        return VariableKind.QUANTITY if _UNIT.fullmatch(chunk) else VariableKind.IDENTIFIER
    return VariableKind.IDENTIFIER if _NUMBERED.fullmatch(chunk) else None
