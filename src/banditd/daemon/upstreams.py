"""Floor 6: from the settings of upstreams to plain values, with their keys read from where the settings point to."""

from __future__ import annotations

import os
from collections.abc import Mapping

from banditd.core.errors import ConfigurationError
from banditd.settings import Settings
from banditd.settings.gateway import UpstreamSettings
from banditd.upstreams.config import Clocks, UpstreamConfig


def upstream_configs(settings: Settings, environ: Mapping[str, str] | None = None) -> list[UpstreamConfig]:
    """Every configured upstream. Keys are read once, here.

    Raises
    ------
    ConfigurationError : a key is not where the settings say.
    """
    environment = os.environ if environ is None else environ
    return [_config(name, section, environment) for name, section in settings.upstreams.items()]


def _config(name: str, section: UpstreamSettings, environment: Mapping[str, str]) -> UpstreamConfig:
    return UpstreamConfig(
        name=name,
        kind=section.kind,
        base_url=section.base_url,
        key=_key(name, section, environment),
        key_header=section.key_header,
        surfaces=frozenset(section.surfaces),
        headers={name: value.get_secret_value() for name, value in section.headers.items()},
        forward_headers=frozenset(header.lower() for header in section.forward_headers),
        clocks=Clocks(**section.timeouts.model_dump()),
        max_concurrent=section.max_concurrent,
        keepalive_s=section.keepalive_s,
        max_event_bytes=section.max_event_bytes,
        max_answer_bytes=section.max_answer_bytes,
        ca_file=section.ca_file,
    )


def _key(name: str, section: UpstreamSettings, environment: Mapping[str, str]) -> str | None:
    if section.api_key_env is not None:
        key = environment.get(section.api_key_env, "")
        where = f"the environment variable {section.api_key_env}"
    elif section.api_key_file is not None:
        where = f"the file {section.api_key_file}"
        try:
            key = section.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"upstreams.{name}: {where} with its key cannot be read: {error}") from error
    else:
        return None
    key = key.strip()
    if not key:
        raise ConfigurationError(f"upstreams.{name}: {where} holds no key; set it, or name another")
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(
            f"upstreams.{name}: {where} holds something that is no key: it must be printable ASCII"
        )
    return key
