"""Reads YAML with helpful errors: duplicate keys are refused, and unknown ones get suggestions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from banditd.core.errors import ConfigurationError
from banditd.core.nearest import names_beside, nearest_names

_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise yaml.YAMLError(f"{key.value!r} occurs twice, in lines {lines[name]} and {line}: keep one")
            lines[name] = line
        return node


def read_yaml(text: str | bytes) -> Any:
    """The text's content in plain types. Raises yaml.YAMLError, also for a duplicate key."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """A configuration file; {} for an empty one. Raises ConfigurationError: which file, and what is wrong."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"the configuration file {path} does not exist") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"the configuration file {path} must be a mapping of sections")
    return content


def problem_line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """One line: where, and what to write instead."""
    where = ".".join(map(str, detail["loc"])) or "(top)"
    if detail["type"] != "extra_forbidden":
        return f"  {where}: {detail['msg'].removeprefix('Value error, ')}"
    known = names_beside(detail["loc"], model)
    near = nearest_names(str(detail["loc"][-1]), known)
    mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}" if known else "leave it out"
    return f"  {where}: is not a setting; {mend}"
