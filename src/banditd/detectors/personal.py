"""Personal data that has a form: numbers with check digits (by python-stdnum), addresses. Names have none."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from banditd.detectors.patterns import compiled, utf8

MOST_CANDIDATES: Final = 1000
"""A text with more that looks like the thing, but fails its check, counts as one that has it."""

_DASHES: Final = re.compile("[\u00ad\u2010-\u2015\u2212\ufe63\uff0d]")
# Putting marks in order takes Python a time that grows with the square of their number.
_PIECES: Final = re.compile("[\x00-\x7f]?[^\x00-\x7f]{1,64}")


class Entity(NamedTuple):
    """pattern : what looks like it. check : the module of python-stdnum that knows which of those it is, or None."""

    pattern: str
    check: str | None = None


# Presidio's names, where it has one.
ENTITIES: Final[dict[str, Entity]] = {
    "CREDIT_CARD": Entity(
        r"\b(?:[2-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}"
        r"|3[47]\d{2}[ -]?\d{6}[ -]?\d{5}|3[0689]\d{2}[ -]?\d{6}[ -]?\d{4})\b",
        "luhn",
    ),
    "IBAN_CODE": Entity(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b", "iban"),
    "EMAIL_ADDRESS": Entity(r"[\pL\pN._%+-]+@[\pL\pN-]+(?:\.[\pL\pN-]+)*\.\pL{2,24}"),
    "PHONE_NUMBER": Entity(
        r"(?:^|[^\w+])(?:\+[1-9]\d{0,2}(?:[ ./-]?\(\d{1,4}\))?(?:[ ./-]?\d{1,5}){2,6}"
        r"|(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4})\b",
        "phone",
    ),
    "IP_ADDRESS": Entity(r"\b(?:\d{1,3}(?:\.\d{1,3}){3,8}|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7})\b", "ip"),
    "US_SSN": Entity(r"\b\d{3}-\d{2}-\d{4}\b", "us.ssn"),
    "UK_NINO": Entity(r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b"),
    "DE_TAX_ID": Entity(r"\b[1-9]\d ?\d{3} ?\d{3} ?\d{3}\b", "de.idnr"),
    "FR_NIR": Entity(r"\b[12] ?\d{2} ?\d{2} ?\d[0-9AB] ?\d{3} ?\d{3} ?\d{2}\b", "fr.nir"),
    "IT_FISCAL_CODE": Entity(
        r"(?i)\b[a-z]{6}[0-9lmnp-v]{2}[a-z][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]\b", "it.codicefiscale"
    ),
    "ES_NIF": Entity(r"\b\d{8}-?[A-Z]\b", "es.dni"),
    "ES_NIE": Entity(r"\b[XYZ]-?\d{7}-?[A-Z]\b", "es.nie"),
    "PL_PESEL": Entity(r"\b\d{11}\b", "pl.pesel"),
    "IN_AADHAAR": Entity(r"\b[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}\b", "in_.aadhaar"),
    "KR_RRN": Entity(r"\b\d{6}-\d{7}\b", "kr.rrn"),
    "CN_RIC": Entity(r"\b[1-9]\d{16}[0-9Xx]\b", "cn.ric"),
    "BR_CPF": Entity(r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", "br.cpf"),
}


def personal_detector(names: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the named entities is in a text.

    Raises
    ------
    ValueError : an unknown name, or RE2 or python-stdnum is not installed.
    """
    unknown = sorted(set(names) - ENTITIES.keys())
    if unknown:
        raise ValueError(f"pii:{unknown[0]} is no personal data that can be detected: {', '.join(ENTITIES)}")
    looks = [(compiled(ENTITIES[name].pattern, "pii", "detectors"), _check(ENTITIES[name].check)) for name in names]

    def found(text: str) -> bool:
        encoded = utf8(_plain(text))
        return any(_found(pattern, check, encoded) for pattern, check in looks)

    return found


def _plain(text: str) -> str:
    """With the keyboard's digits, blanks and dashes: copied text has others, and East Asian input full-width ones."""
    if text.isascii():
        return text
    return _DASHES.sub("-", _PIECES.sub(_normalised, text))


def _normalised(piece: re.Match[str]) -> str:
    """As it is where it would grow: some signs stand for whole sentences, and no number is written with them."""
    plain = unicodedata.normalize("NFKC", piece[0])
    return plain if len(plain) <= 2 * len(piece[0]) else piece[0]


def _found(pattern: Any, check: Callable[[str], bool] | None, encoded: bytes) -> bool:
    at = 0
    for _ in range(MOST_CANDIDATES):
        match = pattern.search(encoded, at)
        if match is None:
            return False
        text = match.group().decode("utf-8", "replace")
        if check is None or check(text):
            return True
        # The thing may begin within what was taken for it: "4711 4111 1111 1111 1111" has a card's number.
        inside = min((place for place in map(match.group().find, (b" ", b"-")) if place > 0), default=-1)
        at = match.end() if inside < 0 else match.start() + inside
    return True


def _check(name: str | None) -> Callable[[str], bool] | None:
    own = {None: None, "phone": _is_phone, "ip": _is_public}
    if name in own:
        return own[name]
    try:
        module = import_module(f"stdnum.{name}")
    except ImportError:
        raise ValueError("pii needs python-stdnum: pip install 'banditd[detectors]'") from None
    valid: Callable[[str], bool] = module.is_valid
    return _shortened(valid) if name == "iban" else lambda text: valid(text.replace("-", "").replace(" ", ""))


def _shortened(valid: Callable[[str], bool]) -> Callable[[str], bool]:
    """The check of a number in groups, whose last ones may be the words that follow it."""

    def check(text: str) -> bool:
        groups = text.replace("-", " ").split()
        return any(valid("".join(groups[:n])) for n in range(len(groups), max(len(groups) - 3, 0), -1))

    return check


def _is_phone(text: str) -> bool:
    return 8 <= sum(map(str.isdigit, text)) <= 15


def _is_public(text: str) -> bool:
    """Whether it is an address of the public internet; others are nobody's in particular."""
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False
