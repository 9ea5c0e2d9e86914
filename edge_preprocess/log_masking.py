"""Log text cut into constant words and typed variables by general rules alone.

The rules know what a number, an address, an identifier, a path or a time looks like anywhere; none of them knows a
system. A variable takes its whole chunk, a chunk being what stands between the delimiters of the published template
convention. Source of the convention: Khan et al., "Guidelines for Assessing the Accuracy of Log Message Template
Identification Techniques", ICSE 2022.
"""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import islice

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


class Masked:
    """A line's tokens, in order, as parallel lists; constant text has no kind."""

    __slots__ = ("codes", "ends", "kinds", "starts", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        """Constant text as it is; for a variable the wildcard with what the convention keeps around it."""
        self.kinds: list[VariableKind | None] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.codes: list[tuple[int, int]] = []
        """Where constant words hold digits: start and end."""

    def add(self, word: str, kind: VariableKind | None, start: int, end: int) -> None:
        """Append a token that stands at text[start:end]."""
        self.words.append(word)
        self.kinds.append(kind)
        self.starts.append(start)
        self.ends.append(end)

    def stands_alone(self, index: int, text: str) -> bool:
        """True for a token of `text` that blanks or plain punctuation set off, with no number as its neighbour."""
        before, after = text[: self.starts[index]][-1:], text[self.ends[index] :][:1]
        if (before and before not in _BEFORE) or (after and after not in _AFTER):
            return False
        beside = [
            at for at in (index - 2, index + 2) if 0 <= at < len(self.words) and self.words[(at + index) // 2] == " "
        ]
        return not any(self.kinds[at] is VariableKind.NUMBER for at in beside)


_BEFORE, _AFTER = frozenset(" \t=(["), frozenset(" \t,;)]%")
_DELIMITERS = r"\s,!;:=|\"'\[\](){}.\-+@#$%&/"
_CHUNK = rf"[^{_DELIMITERS}]+"
_STARTS = rf"(?<![^{_DELIMITERS}])"
_ENDS = rf"(?![^{_DELIMITERS}])"
# Repetitions are bounded, so that no line can make a search take the square of its length.
_NAME = r"\w{0,63}"
_LABEL = r"[\w\-]{0,63}"
_IN_PATH = r"[^\s,!;:=|\"'\[\](){}]"
_TOP_LEVEL = "com|net|org|edu|gov|mil|int|info|biz|local|lan|internal|arpa"
_RECORDS = "txt|log|xml|json|csv|gz|tgz|zip|tar|pcap|pcapng|dat|tmp|bin|img|dump|out|db|bak|hex"
"""Endings of files that are written by the numbered many, unlike programs and settings."""

_SCANNER = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<ctime>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+\d+
      \s\d+:\d+:\d+(?:\s[A-Z]+)?\s\d+{_ENDS})
  | (?P<plain>[A-Za-z_]+(?=[\s,;)\]]|$))
  | (?P<mnemonic>%[A-Z][A-Z0-9_]{{0,31}}-\d-[A-Z0-9_]{{1,63}})
  | (?P<mark>[,!;=|"'\[\]){{}}.@\#$%&]|:(?!:)|\((?!\s{{0,9}}\)))
  | (?P<url>{_STARTS}(?:[A-Za-z][A-Za-z0-9]{{0,31}}\.){{0,5}}[A-Za-z][A-Za-z0-9]{{0,31}}://[^\s"'<>,;)\]}}]+)
  | (?P<email>{_STARTS}[A-Za-z0-9][\w.+\-]{{0,63}}@[A-Za-z0-9\-]{{1,63}}(?:\.[A-Za-z0-9\-]{{1,63}}){{1,8}})
  | (?P<wide>{_STARTS}(?:(?:[0-9a-fA-F]{{1,4}}:){{4,15}}:?[0-9a-fA-F]{{1,4}}
      |(?:[0-9a-fA-F]{{1,4}}:){{1,6}}(?::[0-9a-fA-F]{{1,4}}){{1,6}}
      |::(?:[fF]{{4}}:)?\d+\.\d+\.\d+\.\d+){_ENDS})
  | (?P<uuid>{_STARTS}[0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}}{_ENDS})
  | (?P<path>{_STARTS}(?<!/)(?:[A-Za-z]:\\|~?/)(?=[^\s]){_IN_PATH}+)
  | (?P<hostaddress>{_STARTS}[A-Za-z0-9][\w.\-]{{0,63}}(?=/\d+\.\d+\.\d+\.\d))
  | (?P<hostport>{_STARTS}(?:(?={_LABEL}\d)[A-Za-z0-9]{_NAME}(?:[.\-]\w{{1,63}}){{1,8}}
      |[a-z][a-z0-9\-]{{0,63}}(?:\.[a-z0-9\-]{{1,63}}){{1,7}}\.[a-z]{{2,4}})(?=:\d{{2,5}}(?![\w:])))
  | (?P<file>{_STARTS}(?=[\w\-]{{0,63}}\d)\w[\w\-]{{0,63}}\.(?:{_RECORDS}){_ENDS})
  | (?P<host>{_STARTS}(?!(?:{_TOP_LEVEL})\.)[A-Za-z0-9]{_LABEL}(?:\.[A-Za-z0-9]{_LABEL}){{0,7}}\.
      (?:{_TOP_LEVEL})(?:\.[a-z]{{2}})?{_ENDS}(?![.\-]\w))
  | (?P<numberedhost>{_STARTS}(?=[\w.\-]{{0,63}}[\d\-])[A-Za-z0-9]{_LABEL}(?:\.[A-Za-z0-9]{_LABEL}){{1,8}}
      \.[a-z]{{2}}{_ENDS}(?![.\-]\w))
  | (?P<dotted>{_STARTS}[A-Za-z_]{_NAME}(?:\.[A-Za-z_]{_NAME}){{2,12}}{_ENDS}(?![.\-]\w))
  | (?P<signedid>{_STARTS}[A-Za-z]{_NAME}_-\d+{_ENDS})
  | (?P<version>{_STARTS}v\d+(?:\.\d+){{1,8}}{_ENDS})
  | (?P<signed>(?<![\w\].)\-+])[+\-]\d+(?:\.\d+){{0,8}}(?:[eE][+\-]\d+)?>*{_ENDS})
  | (?P<number>{_STARTS}\d+(?:\.\d+){{0,8}}(?:[eE][+\-]\d+)?>*{_ENDS})
  | (?P<empty>(?<=\s)\(\s{{0,9}}\)(?=\s|$))
  | (?P<chunk>{_CHUNK})
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEX = re.compile(
    r"[<(]?0[xX][0-9a-fA-F]+[>)]?|(?=[0-9a-fA-F]*\d)(?=[0-9]*[a-fA-F])[0-9a-fA-F]{6,}|(?:[0-9a-f]{8}){1,8}|(?:[0-9A-F]{8}){1,8}"
)
_TECHNICAL = re.compile(
    r"(?:ipv?|icmpv?|http|ssh|tls|sha|md|utf|base|aes|ext|nfs|wpa|crc|u?int|float)[1-9]\d{0,2}|x86|x64|amd64|arm64"
    # Timers, constants, messages and interfaces of 3GPP TS 38.331, 24.501, 38.321 and 23.501.
    r"|t3\d\d|t3[45]\d\d|n31\d|msg[1-4]|sib\d\d?|x2|s1|f1|e1|n[1-9]|l[1-3]|5g[cs]?|4g|3g|[ab][1-6]",
    re.IGNORECASE,
)
"""Names of techniques, whose digits are part of the word."""
_LEADING_DIGIT = re.compile(r"[<>*~^?]*\d")
_UNIT = re.compile(r"\d+(?:[a-zA-Z]{1,3}|µs|°C)(?:/[a-zA-Z]+)?[>]?")
_NUMBERED = re.compile(r".*_\d+(?:_.*)?|.*\d\D+\d\D+\d.*|.*\d{4}.*|.*<.*\d.*")
_KINDS_OF_WORDS = {
    **dict.fromkeys(("true", "false", "True", "False", "TRUE", "FALSE"), VariableKind.TRUTH),
    # Names that stand for a value wherever they occur; the published convention's own list.
    **dict.fromkeys(("null", "root", "admin"), VariableKind.WORD),
}


def mask(text: str) -> Masked:
    """The tokens of one line's content; runs of white space come out as one blank, lists as one variable."""
    masked = Masked()
    words, kinds, starts, ends = masked.words, masked.kinds, masked.starts, masked.ends
    end = 0
    # This loop is where mining spends its time, so the frequent cases are decided and appended in place.
    for found in islice(_SCANNER.finditer(text), MAX_TOKENS):
        group = found.lastgroup or ""
        start, end = found.span()
        kind = _KINDS.get(group)
        if kind is not None:
            word = _RENDERED.get(group, WILDCARD)
        elif group == "space":
            word = " "
        elif group == "plain":
            word = text[start:end]
            kind = _KINDS_OF_WORDS.get(word)
            word = word if kind is None else WILDCARD
        elif group in _CONSTANT:
            word = text[start:end]
        else:
            _add_parts(masked, group, text[start:end], start)
            continue
        words.append(word)
        kinds.append(kind)
        starts.append(start)
        ends.append(end)
    if end < len(text):
        # A quotation that ends in the tail must not look as if it had ended before.
        masked.add(WILDCARD + "".join(sorted(set(_QUOTES.findall(text, end)))), VariableKind.REST, end, len(text))
    if _NEIGHBOURS in "".join(words):
        _join_lists(masked, text)
    return masked


def is_code(word: str) -> bool:
    """True for a word with digits that may count something, such as eth0."""
    return _DIGIT.search(word) is not None and not _TECHNICAL.fullmatch(word)


def _join_lists(masked: Masked, text: str) -> None:
    """Identifiers of one make in a row, or many variables of one kind, become one list of unknown length."""
    kinds = masked.kinds
    index = len(kinds) - 1
    while index >= 2:
        first = index
        while first >= 2 and kinds[first] is not None and _is_listed(masked, first - 2, first):
            first -= 2
        run = (index - first) // 2 + 1
        if run >= _MANY or (run > 1 and kinds[index] in _LISTED and _is_one_make(masked, first, index, text)):
            masked.ends[first] = masked.ends[index]
            for column in (masked.words, masked.kinds, masked.starts, masked.ends):
                del column[first + 1 : index + 1]
        index = min(first, index - 1) if run == 1 else first - 1


def _is_listed(masked: Masked, first: int, second: int) -> bool:
    return masked.kinds[first] is masked.kinds[second] and masked.words[first + 1] == " "


def _is_one_make(masked: Masked, first: int, last: int, text: str) -> bool:
    """True where the identifiers have their letters in common."""
    makes = {_NOT_LETTERS.sub("", text[masked.starts[at] : masked.ends[at]]) for at in range(first, last + 1, 2)}
    return len(makes) == 1


def _add_parts(masked: Masked, group: str, raw: str, start: int) -> None:
    end = start + len(raw)
    if group == "chunk":
        is_numbered = _DIGIT.search(raw) is not None
        kind = _kind_of_numbered(raw) if is_numbered else _KINDS_OF_WORDS.get(raw)
        if WILDCARD in raw:
            # A line that spells the wildcard must not pass for a template.
            kind = VariableKind.WORD
        if kind is None:
            _add_constant(masked, raw, start)
        else:
            masked.add(WILDCARD, kind, start, end)
    elif group in {"dotted", "mnemonic"}:
        _add_constant(masked, raw, start)
    elif group == "url":
        scheme = raw.index("://") + 3
        _add_constant(masked, raw[:scheme], start)
        masked.add(WILDCARD, VariableKind.URL, start + scheme, end)
    else:
        masked.add("(", None, start, start + 1)
        masked.add(WILDCARD, VariableKind.WORD, start + 1, end - 1)
        masked.add(")", None, end - 1, end)


def _add_constant(masked: Masked, word: str, start: int) -> None:
    end = start + len(word)
    masked.add(word, None, start, end)
    if _DIGIT.search(word):
        masked.codes.append((start, end))


_NEIGHBOURS = f"{WILDCARD} {WILDCARD}"
_CONSTANT = frozenset({"mark", "other"})
_MANY = 8
_LONGEST_WORD = 128
_LISTED = frozenset({VariableKind.IDENTIFIER, VariableKind.HOST, VariableKind.ADDRESS})
_DIGIT = re.compile(r"\d")
_QUOTES = re.compile(r"[\"'`]")
_NOT_LETTERS = re.compile(r"[^A-Za-z]+")
_RENDERED = {"ctime": "<*>:<*>:<*>"}
_KINDS = {
    "ctime": VariableKind.TIME,
    "email": VariableKind.ADDRESS,
    "wide": VariableKind.ADDRESS,
    "file": VariableKind.PATH,
    "uuid": VariableKind.IDENTIFIER,
    "path": VariableKind.PATH,
    "hostaddress": VariableKind.HOST,
    "hostport": VariableKind.HOST,
    "host": VariableKind.HOST,
    "numberedhost": VariableKind.HOST,
    "signedid": VariableKind.IDENTIFIER,
    "version": VariableKind.IDENTIFIER,
    "signed": VariableKind.NUMBER,
    "number": VariableKind.NUMBER,
}


def _kind_of_numbered(chunk: str) -> VariableKind | None:
    if len(chunk) > _LONGEST_WORD:
        return VariableKind.IDENTIFIER
    if _TECHNICAL.fullmatch(chunk):
        return None
    if _HEX.fullmatch(chunk):
        return VariableKind.HEX
    if _LEADING_DIGIT.match(chunk):
        return VariableKind.QUANTITY if _UNIT.fullmatch(chunk) else VariableKind.IDENTIFIER
    return VariableKind.IDENTIFIER if _NUMBERED.fullmatch(chunk) else None
