"""What is looked for in a text by its name: ``secrets``, ``code``, ``language:de``, ``pii``, ``pii:IBAN_CODE``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from banditd.detectors.languages import language_detector
from banditd.detectors.personal import ENTITIES, personal_detector
from banditd.detectors.secrets import secrets_detector
from banditd.features.lexical import LEXICAL_NAMES, lexical_facts

_CODE: Final = LEXICAL_NAMES.index("code")
CODE_SIGNS: Final = 3
"""Signs of code that prose hardly has: one or two may be a list, a formula, or the words ``import``, ``class``."""


def detector(names: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the named things is in a text.

    Raises
    ------
    ValueError : a name that is unknown, or what it needs is not installed.
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind, colon, value = name.partition(":")
        if kind not in _MAKERS or (bool(colon) and kind not in {"language", "pii"}) or (colon and not value):
            raise ValueError(
                f"{name!r} is nothing that can be detected: secrets, code, language:CODE, pii or pii:TYPE"
            )
        kinds.setdefault(kind, []).append(value)
    made = [_MAKERS[kind](values) for kind, values in kinds.items()]
    return lambda text: any(found(text) for found in made)


def _code(_: Sequence[str]) -> Callable[[str], bool]:
    return lambda text: lexical_facts(text)[_CODE] >= CODE_SIGNS


def _pii(values: Sequence[str]) -> Callable[[str], bool]:
    return personal_detector(tuple(ENTITIES) if "" in values else values)


_MAKERS: Final[dict[str, Callable[[Sequence[str]], Callable[[str], bool]]]] = {
    "code": _code,
    "language": language_detector,
    "pii": _pii,
    "secrets": lambda _: secrets_detector(),
}
