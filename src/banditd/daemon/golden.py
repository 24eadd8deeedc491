"""Floor 6: golden sets, from their files to rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from banditd.core.anchor import DriftRule
from banditd.core.errors import ConfigurationError
from banditd.core.golden import GoldenPrompt, GoldenRule
from banditd.settings import Settings

FORM: Final = 'a line is {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'
_FIELDS: Final = frozenset({"prompt", "messages", "max_tokens", "max_completion_tokens"})
_CHARACTERS_PER_TOKEN: Final = 4
MAX_FILE_BYTES: Final = 16_777_216


def golden_rules(settings: Settings, drifts: Mapping[str, DriftRule]) -> dict[str, GoldenRule]:
    """The golden sets of the policies that have one. Raises ConfigurationError for a file that is none."""
    found = {}
    for name, policy in settings.policies.items():
        section = policy.drift.golden
        if section is not None:
            found[name] = GoldenRule(
                policy=name,
                judge=section.judge,
                prompts=read_golden(section.file, section.cases),
                usd_per_day=section.usd_per_day,
                drift=drifts[name],
            )
    return found


def read_golden(path: Path, most: int) -> tuple[GoldenPrompt, ...]:
    """The first ``most`` prompts of a file. Raises ConfigurationError that says what to mend."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigurationError(f"golden set {path}: larger than {MAX_FILE_BYTES >> 20} MiB; prompts are short")
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"golden set {path} cannot be read: {error}") from error
    found: dict[str, GoldenPrompt] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and len(found) < most:
            one = _prompt(line, f"golden set {path}, line {number}")
            if one.prompt_id in found:
                raise ConfigurationError(f"golden set {path}, line {number}: a prompt that is there already")
            found[one.prompt_id] = one
    if not found:
        raise ConfigurationError(f"golden set {path} has no prompt: {FORM}")
    return tuple(found.values())


def _prompt(line: str, place: str) -> GoldenPrompt:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place} is no JSON ({error}): {FORM}") from error
    if not isinstance(value, dict) or ("prompt" in value) == ("messages" in value):
        raise ConfigurationError(f"{place} has no prompt, or prompt and messages: {FORM}")
    unknown = sorted(set(value) - _FIELDS)
    if unknown:
        raise ConfigurationError(f"{place} has {unknown[0]}, and it may have {', '.join(sorted(_FIELDS))}")
    limits = {name: limit for name, limit in value.items() if name not in {"prompt", "messages"}}
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigurationError(f"{place}: {name} is not a whole number of at least 1")
    messages = [{"role": "user", "content": value["prompt"]}] if "prompt" in value else value["messages"]
    if not _readable(messages):
        raise ConfigurationError(f"{place}: a message is a role and a text that is not empty: {FORM}")
    body = {"messages": messages, **limits}
    try:
        written = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{place} has half of a character, which no model can read") from error
    characters = sum(len(one["content"]) for one in messages)
    return GoldenPrompt(
        prompt_id=sha256(written).hexdigest()[:16],
        body=body,
        input_tokens=-(-characters // _CHARACTERS_PER_TOKEN),
    )


def _readable(messages: Any) -> bool:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(
            isinstance(one, dict)
            and set(one) == {"role", "content"}
            and isinstance(one["role"], str)
            and isinstance(one["content"], str)
            and one["content"].strip() != ""
            for one in messages
        )
    )
