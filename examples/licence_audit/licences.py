"""What a package's metadata says about its licence, and which family that is. Pure: text in, verdicts out.

Its statements, best first: `License-Expression` (SPDX, PEP 639), a `License` that is one too, trove classifiers, the
free text of `License`.
This is an example, not legal advice: what it does not recognise is `unknown`, for a person to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FAMILIES = ("permissive", "weak copyleft", "strong copyleft", "proprietary", "unknown")
"""From the one that asks least to the one that asks most."""

UNKNOWN = "unknown"

_PERMISSIVE = (
    "MIT|MIT-0|X11|ISC|0BSD|BSD|APACHE|PSF|PYTHON|CNRI|ZLIB|ZPL|UNLICENSE|CC0|CC-BY|WTFPL|BSL|HPND|AFL|NCSA|ARTISTIC-2"
    "|POSTGRESQL|UNICODE|BLUEOAK|TCL|ICU|LIBTIFF|FTL|IJG|LIBPNG|OFL|PUBLIC-DOMAIN|DFSG"
)
_FAMILY_OF = (
    # A more specific pattern stands before a more general one.
    (r"LGPL|MPL|EPL|CDDL|EUPL|CPL", "weak copyleft"),
    (r"A?GPL|SSPL|OSL|CC-BY-SA", "strong copyleft"),
    (r"LICENSEREF-PROPRIETARY|PROPRIETARY", "proprietary"),
    (_PERMISSIVE, "permissive"),
)
_LINKING_EXCEPTION = re.compile(r"classpath|linking|gcc|llvm|bootloader|font", re.IGNORECASE)

_TEXTS = (
    # (pattern of free text or of a classifier's last part, licence)
    (r"lesser general public|\blgpl|gnu library", "LGPL"),
    (r"affero|\bagpl", "AGPL"),
    (r"general public licen[cs]e|\bgpl", "GPL"),
    (r"mozilla|\bmpl", "MPL-2.0"),
    (r"eclipse public|\bepl\b", "EPL"),
    (r"\bmit[ -]?0\b|mit no attribution", "MIT-0"),
    (r"\bmit\b|\bexpat\b", "MIT"),
    (r"apache", "Apache-2.0"),
    (r"\bbsd.?3|3.clause|new bsd|modified bsd", "BSD-3-Clause"),
    (r"\bbsd.?2|2.clause|simplified bsd", "BSD-2-Clause"),
    (r"\b0bsd\b|zero.clause bsd", "0BSD"),
    (r"\bbsd\b", "BSD"),
    (r"\bisc\b", "ISC"),
    (r"python software foundation|\bpsf|python licen[cs]e", "PSF-2.0"),
    (r"historical permission notice|\bhpnd\b", "HPND"),
    (r"zope public|\bzpl", "ZPL"),
    (r"\bzlib\b", "Zlib"),
    (r"unlicen[cs]e", "Unlicense"),
    (r"\bcc0\b", "CC0-1.0"),
    (r"public domain", "Public-Domain"),
    (r"proprietary|all rights reserved|commercial", "Proprietary"),
)

_BODIES = (
    # What a person recognises a licence's own text by; those that name others stand first.
    (r"Mozilla Public License", "MPL-2.0"),
    (r"GNU LESSER GENERAL PUBLIC", "LGPL"),
    (r"GNU AFFERO GENERAL PUBLIC", "AGPL"),
    (r"GNU GENERAL PUBLIC", "GPL"),
    (r"Apache License", "Apache-2.0"),
    (r"Permission is hereby granted, free of charge", "MIT"),
    (r"Permission to use, copy, modify, and(?:/or)? distribute", "ISC"),
    (r"The origin of this software must not be misrepresented", "Zlib"),
    (r"Redistribution and use in source and binary forms.*Neither the name", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-Clause"),
)


class Verdict(NamedTuple):
    licence: str
    family: str
    source: str
    """Which of the package's statements it rests on."""


def judge(expression: str, classifiers: Iterable[str], text: str) -> Verdict:
    """By the best statement that is understood."""
    if expression.strip():
        return Verdict(expression.strip()[:80], family_of(expression), "License-Expression")
    first = text.strip().split("\n", 1)[0][:80]
    if (family := family_of(first)) != UNKNOWN:
        return Verdict(first, family, "License")
    named = [each.rsplit(" :: ", 1)[-1] for each in classifiers if each.startswith("License ::")]
    found = sorted({licence for each in named if (licence := name_of(each))})
    if found:
        # Several classifiers mean a choice as often as a sum; the stricter reading is the careful one.
        return Verdict(" AND ".join(found), max(map(family_of, found), key=FAMILIES.index), "classifiers")
    if licence := name_of(first):
        return Verdict(licence, family_of(licence), "License")
    return Verdict(UNKNOWN, UNKNOWN, f"License: {first}" if first else "nothing is stated")


def name_of(text: str) -> str | None:
    """The licence a text names, if it does."""
    return next((licence for pattern, licence in _TEXTS if re.search(pattern, text, re.IGNORECASE)), None)


def recognise(body: str) -> str | None:
    """The licence whose own words these are."""
    head = " ".join(body[:20_000].split())
    return next((licence for pattern, licence in _BODIES if re.search(pattern, head, re.IGNORECASE)), None)


def family_of(expression: str) -> str:
    """Of an SPDX expression: AND takes the stricter, OR lets us choose the freer. Not one of those: unknown."""
    words = iter(re.findall(r"[()]|[^\s()]+", expression))
    try:
        rank, rest = _either(words, next(words, ""))
    except ValueError:
        return UNKNOWN
    return FAMILIES[rank] if not rest else UNKNOWN


def _either(words: Iterator[str], word: str) -> tuple[int, str]:
    rank, word = _both(words, word)
    while word.upper() == "OR":
        other, word = _both(words, next(words, ""))
        rank = min(rank, other)
    return rank, word


def _both(words: Iterator[str], word: str) -> tuple[int, str]:
    rank, word = _one(words, word)
    while word.upper() == "AND":
        other, word = _one(words, next(words, ""))
        rank = max(rank, other)
    return rank, word


def _one(words: Iterator[str], word: str) -> tuple[int, str]:
    if word == "(":
        rank, word = _either(words, next(words, ""))
        if word != ")":
            raise ValueError("a bracket is not closed")
        return rank, next(words, "")
    if word in ("", ")"):
        raise ValueError("a licence is missing")
    rank, word = FAMILIES.index(_family_of_id(word)), next(words, "")
    if word.upper() == "WITH":
        if _LINKING_EXCEPTION.search(next(words, "")):
            rank = min(rank, FAMILIES.index("weak copyleft"))
        word = next(words, "")
    return rank, word


def _family_of_id(licence: str) -> str:
    for pattern, family in _FAMILY_OF:
        if re.match(rf"(?:{pattern})(?![A-Z])", licence, re.IGNORECASE):
            return family
    return UNKNOWN
