"""Which request parameters an arm may set or rename in the calls to its upstream."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

# These belong to the daemon or the client: an arm that changed them would answer another question.
RESERVED_PARAMS: Final = frozenset({"model", "messages", "input", "system", "stream", "stream_options", "banditd"})
MAX_PARAMS_CHARS: Final = 16_384
MAX_PARAMS: Final = 64
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


def check_params(params: Mapping[str, object], rename_params: Mapping[str, str]) -> None:
    """Check an arm's request parameters. Raises ValueError that says what to change."""
    for name in (*params, *rename_params, *rename_params.values()):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a request parameter")
        if name in RESERVED_PARAMS:
            raise ValueError(f"params may not set {name}; these are reserved: {', '.join(sorted(RESERVED_PARAMS))}")
    if len(params) > MAX_PARAMS or len(rename_params) > MAX_PARAMS:
        raise ValueError(f"at most {MAX_PARAMS} parameters")
    try:
        text = json.dumps(params, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("params must be JSON: strings, finite numbers, true, false, null, lists, objects") from None
    if len(text) > MAX_PARAMS_CHARS:
        raise ValueError(f"params may have at most {MAX_PARAMS_CHARS} characters of JSON in all")
    if "\\u0000" in text:
        raise ValueError("a string in params may not contain the character NUL")
