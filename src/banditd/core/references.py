"""How clients refer to a decision without keeping its id: a reference of their own, or an answer's id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_OWN: Final = re.compile(
    r"(?:chatcmpl-|msg_|resp_)([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference in the scope of one API key: the same text under another key is another reference.

    text : what the client sent with its query, or the id that the upstream gave its answer.
    key_name : name of the API key, None without API keys.
    """

    text: str
    key_name: str | None = None


def decision_id_in(text: str) -> str | None:
    """The decision's id inside an answer's id that was built from it (``chatcmpl-<decision id>``), else None."""
    found = _OWN.fullmatch(text)
    return None if found is None else found[1].lower()
