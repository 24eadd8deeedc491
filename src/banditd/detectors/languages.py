"""The language of a text, by py3langid: a naive Bayes model over byte n-grams, of some 4 MB."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from banditd.features.window import prompt_window

SURE: Final = 0.5
"""Least probability of a language. Below it are a word or two, code, numbers, and languages that are alike."""
_OTHER: Final = "!"


def language_detector(codes: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text is surely in one of the languages: ISO 639 codes, or ``!de`` for any but German.

    Only the beginning and the end of a long text are read.

    Raises
    ------
    ValueError : a code that the model does not know, or py3langid is not installed.
    """
    model = _model()
    unknown = sorted({code.removeprefix(_OTHER) for code in codes} - set(model.labels))
    if unknown:
        raise ValueError(
            f"language:{unknown[0]} is no language that can be detected: {', '.join(sorted(model.labels))}"
        )
    named = {code for code in codes if not code.startswith(_OTHER)}
    others = {code.removeprefix(_OTHER) for code in codes} - named

    def found(text: str) -> bool:
        language = _language(prompt_window(text))
        return language is not None and (language in named or any(language != other for other in others))

    return found


@functools.lru_cache(maxsize=16)  # several constraints ask of one text
def _language(text: str) -> str | None:
    """The language that a text is surely in, if any."""
    language, probability = _model().classify(text)
    return str(language) if probability >= SURE else None


@functools.cache
def _model() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError("language detection needs py3langid: pip install 'banditd[detectors]'") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
