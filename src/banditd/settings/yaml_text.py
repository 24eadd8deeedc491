"""YAML as people write it: a name that stands twice in one mapping is refused, where the library keeps the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from banditd.core.errors import ConfigurationError

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
                raise yaml.YAMLError(f"{key.value!r} stands twice, in lines {lines[name]} and {line}: keep one")
            lines[name] = line
        return node


def read_yaml(text: str | bytes) -> Any:
    """What the text says, in plain types. Raises yaml.YAMLError, also for a name that stands twice."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None


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
