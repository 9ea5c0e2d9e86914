"""Options that are given for one site at a time: SITE=VALUE, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfl_finetune.errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence


_MOST_DIGITS = 18


def pairs(option: str, wanted: str, texts: Sequence[str], *, by: str = "=") -> dict[str, str]:
    """Value by site; refuses what is no pair, and a site that is given twice."""
    found: dict[str, str] = {}
    for text in texts:
        site, _, value = text.rpartition(by)
        if not site or not value:
            raise SettingInvalid(f"{option} {text!r} is no SITE{by}{wanted}")
        if site in found:
            raise SettingInvalid(f"{option} is given twice for site {site!r}: {found[site]} and {value}")
        found[site] = value
    return found


def numbers(option: str, wanted: str, texts: Sequence[str], *, by: str = "=") -> dict[str, int]:
    """Whole number by site."""
    found = pairs(option, wanted, texts, by=by)
    for site, value in found.items():
        if not (value.isascii() and value.isdecimal()):
            raise SettingInvalid(f"{option} {site}{by}{value} is no SITE{by}{wanted}, such as {site}{by}4")
        if len(value) > _MOST_DIGITS:
            raise SettingInvalid(f"{option} of site {site!r} has {len(value)} digits; allowed: {_MOST_DIGITS}")
    return {site: int(value) for site, value in found.items()}
