"""Whether a line says that a cell is out of service, and not merely that something in the cell is off or idle.

Idle users, features that are switched off and powers that are stepped down are everyday news of a cell. A state counts
where nothing but names, verbs of change and former states stands between it and the cell, where nothing that it could
belong to comes right after it, and where the clause does not speak of a user first.
"""

from __future__ import annotations

import re

from edge_preprocess.log_words import plain_words

STATES = r"down|inactive|unavailable|disabled"
"""Words that tell of an outage where they are a cell's own."""

_USERS = (
    r"ues?|users?|devices?|subscribers?|terminals?|imsi|supi|rnti|rrc|bearers?|drbs?|sessions?|pdus?|connections?"
    r"|contexts?"
)
_FIGURES = r"load|traffic|throughput|power|usage|utili[sz]ation|rates?|demand|capacity|quality|counts?|timers?"
_CELL = r"(?:cell|sector|rru|radio unit)"
_NUMBER = r"(?:#|id|no|number|pci|nci|[^\s\d]*\d\S*)"
_BECOMES = (
    r"(?:is|was|has|have|had|been|being|be|gone|went|goes|going|got|becomes?|became|turned|marked|declared|reported"
    r"|found|set|switched|changed|moved|put|taken|brought|shut|shutting|powered)"
)
_LINKS = (
    rf"(?:{_BECOMES}|now|currently|still|to|as|state|status|service|admin\w*|oper\w*|temporarily|completely|suddenly"
    r"|unexpectedly|from|active|enabled|up|available|unlocked)"
)
# What may follow a state without being what it is the state of.
_GOES_ON = (
    r"(?=$| (?:(?:due|because|after|since|until|at|on|in|and|with|while|when|again|now|alarm|reason|cause|state|error"
    r"|code|via|as|per|during|service|unexpectedly|completely|immediately|detected|retry\w*|restart\w*)\b"
    rf"|by(?! #| up\b)|for(?! #| (?:{_USERS}|dl|ul)\b)))"
)
_NAME = rf"(?!(?:{_USERS}|{_FIGURES})\b)\S+(?: {_NUMBER}){{0,2}}(?= {_BECOMES}\b)"
_CELL_FIRST = rf"\b{_CELL}\b(?: {_NUMBER}){{0,3}}(?: {_NAME})?(?: {_LINKS}){{0,5}} (?:{STATES})\b{_GOES_ON}"
_CARRIER_FIRST = rf"\bcarrier\b(?: {_NUMBER}){{0,3}}(?: {_LINKS}){{0,5}} disabled\b{_GOES_ON}"
_STATE_FIRST = (
    rf"\b(?:inactive|unavailable|disabled|(?:shut\w*|bring\w*|brought|tak\w+|took|go\w*|went|put) down)"
    rf"(?: the| serving){{0,2}} {_CELL}\b(?: {_NUMBER}){{0,3}}{_GOES_ON}"
)
_OUT = re.compile(f"{_CELL_FIRST}|{_CARRIER_FIRST}|{_STATE_FIRST}")
_OF_A_USER = re.compile(rf"\b(?:{_USERS})\b")
_OVER = re.compile(r"\b(?:cleared|ceased|recovered|restored|resolved|no longer)\b")
_STATE_ENDS = re.compile(
    rf"\b({STATES})\b(?:\s*:|\s*-(?![\w>])|\s+(?=[\w.]+=)(?!(?:cell\w*|sector\w*|rru\w*|{_USERS})=))", re.IGNORECASE
)
_CLAUSE_ENDS = re.compile(r"[,;!()\[\]{}|]|\.(?=\s|$)")
_NUMBERS = re.compile(r"<\*>|(?<![\w.])\d+(?:\.\d+)?(?![\w.])")


def is_out_of_service(text: str) -> bool:
    """Whether the text calls a cell, a sector or a radio unit down, inactive, unavailable or disabled."""
    marked = _STATE_ENDS.sub(r"\1,", _NUMBERS.sub(" # ", text))
    return any(_is_out(plain_words(clause)) for clause in _CLAUSE_ENDS.split(marked))


def _is_out(clause: str) -> bool:
    found = _OUT.search(clause)
    return found is not None and not _OVER.search(clause) and not _OF_A_USER.search(clause, 0, found.start())
