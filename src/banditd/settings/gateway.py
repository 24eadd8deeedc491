"""The endpoints that models stand behind, and the gateway that calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from banditd.core.model_names import PREFIX, RESERVED, readings
from banditd.settings.arms import ArmSettings
from banditd.settings.base import NAME_PATTERN, Section

LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "::1", "localhost"})
# These carry credentials or frame the call: they come neither from a readable file nor from the client.
RESERVED_HEADERS: Final = frozenset(
    {
        "authorization", "x-api-key", "api-key", "proxy-authorization", "cookie", "host", "connection", "keep-alive",
        "te", "trailer", "transfer-encoding", "upgrade", "content-length", "content-encoding", "accept-encoding",
        "expect", "content-type", "accept", "user-agent",
    }
)  # fmt: skip
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")


class TimeoutSettings(Section):
    """How long to wait for an upstream."""

    connect_s: float = Field(5.0, gt=0, description="for a connection")
    headers_s: float = Field(30.0, gt=0, description="for the head of a stream")
    first_token_s: float = Field(60.0, gt=0, description="for its first token, unless the arm says otherwise")
    idle_s: float = Field(60.0, gt=0, description="between two reads of a stream")
    answer_s: float = Field(300.0, gt=0, description="for an unstreamed answer")
    total_s: float = Field(600.0, gt=0, description="for one call, to its last byte")


class UpstreamSettings(Section):
    """An endpoint that models stand behind."""

    kind: Literal["openai", "anthropic", "litellm", "echo"] = Field(
        "openai",
        description="what it speaks; see docs/gateway.md",
    )
    base_url: str = Field("", description="with the version, such as https://api.openai.com/v1")
    api_key_env: str | None = Field(None, min_length=1, description="variable that holds its key")
    api_key_file: Path | None = Field(None, description="or file")
    api_key_header: str | None = Field(
        None,
        description="for the key; null: authorization (Bearer), or anthropic's x-api-key",
    )
    surfaces: tuple[Literal["chat", "messages", "count_tokens", "responses", "embeddings"], ...] = Field(
        (), description="what it speaks; empty: all that its kind can"
    )
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call, shown nowhere")
    forward_headers: tuple[str, ...] = Field((), description="clients' headers passed on beyond the usual")
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings, description="how long to wait")
    max_concurrent: int = Field(1000, ge=1, description="most calls at once; beyond that other arms answer")
    keepalive_s: float = Field(4.0, ge=0, description="idle time of a connection; less than the endpoint's")
    max_event_bytes: int = Field(1_048_576, ge=1024, description="largest event of a stream")
    max_answer_bytes: int = Field(67_108_864, ge=1024, description="largest unstreamed answer")
    ca_file: Path | None = Field(None, description="certificates (PEM) to trust instead of the system's")
    insecure: bool = Field(False, description="send the key over plain http to another host")

    @model_validator(mode="after")
    def _reachable(self) -> UpstreamSettings:
        if self.kind == "echo":
            if self.base_url or self.api_key_env or self.api_key_file:
                raise ValueError("kind echo is inside the daemon: it has no base_url and no key")
            return self
        if self.base_url or self.kind != "litellm":  # LiteLLM knows most endpoints itself
            check_url(self.base_url)
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give api_key_env or api_key_file, not both")
        parts = urlsplit(self.base_url)
        has_key = self.api_key_env is not None or self.api_key_file is not None
        if has_key and parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS and not self.insecure:
            raise ValueError(
                f"base_url {self.base_url} would send the key unencrypted: use https, or set insecure: true"
            )
        check_surfaces(self.kind, self.surfaces)
        check_headers(self.key_header, self.headers, self.forward_headers)
        return self

    @property
    def key_header(self) -> str:
        """Where the key goes."""
        return self.api_key_header or ("x-api-key" if self.kind == "anthropic" else "authorization")


class GatewaySettings(Section):
    """Calls the chosen arm itself."""

    enabled: bool | None = Field(None, description="null: on when there are upstreams")
    aliases: dict[str, str] = Field(default_factory=dict, description="such as {gpt-4o: banditd/auto}")
    max_body_bytes: int = Field(33_554_432, ge=1024, description="largest request body; 413 above it")
    deadline_s: float = Field(600.0, gt=0, description="for one request with all its attempts")
    max_attempts: int = Field(3, ge=1, le=16, description="most calls for one request")
    keepalive_s: float = Field(15.0, gt=0, description="silence after which a stream gets a comment")
    max_streams_per_key: int = Field(1000, ge=1, description="most requests at once per key (or peer); then 429")
    fallback_on_policy: bool = Field(False, description="ask another arm after a content filter")
    prompt_cache_s: float = Field(300.0, ge=0, description="how long prompts are assumed cached; 0: never")
    embeddings: str | None = Field(None, description="arm of /v1/embeddings if a request names none")
    response_id: Literal["upstream", "decision"] = Field(
        "upstream",
        description="an answer's id: the upstream's, or made of the decision's",
    )

    @model_validator(mode="after")
    def _aliases_make_sense(self) -> GatewaySettings:
        for alias, target in self.aliases.items():
            if not re.match(NAME_PATTERN, alias) or len(alias) > 128:
                raise ValueError(f"aliases: {alias!r} cannot be the name of a model")
            if alias.startswith(PREFIX):
                raise ValueError(f"aliases: {alias} has a meaning of its own; choose a name without banditd/")
            if not target.startswith(PREFIX):
                raise ValueError(
                    f"aliases: {alias} must stand for banditd/auto, banditd/<policy>, banditd/<policy>:<profile>, "
                    f"banditd/arm/<arm> or banditd/<policy>/arm/<arm>, not {target!r}"
                )
        return self


def check_url(url: str) -> None:
    """Refuse an invalid base URL. Raises ValueError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"base_url must be an http or https URL such as https://api.openai.com/v1, not {url!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url must not hold credentials; use api_key_env or api_key_file")
    if parts.query or parts.fragment:
        raise ValueError("base_url must not have a query or a fragment")


def check_surfaces(kind: str, surfaces: Sequence[str]) -> None:
    """Refuse surfaces that no endpoint of this kind speaks. Raises ValueError."""
    known = {"anthropic": ("messages", "count_tokens"), "litellm": ("chat",)}.get(
        kind, ("chat", "responses", "embeddings")
    )
    for surface in surfaces:
        if surface not in known:
            raise ValueError(
                f"surfaces: kind {kind} speaks {', '.join(known)}, not {surface}; what it can be translated to is "
                "known and needs no naming"
            )


def check_headers(key_header: str, headers: dict[str, SecretStr], forward: tuple[str, ...]) -> None:
    """Refuse headers that cannot be sent, or must not. Raises ValueError."""
    for name in (key_header, *headers, *forward):
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a header")
    for name, value in headers.items():
        if not _VALUE.fullmatch(value.get_secret_value()):
            raise ValueError(f"headers: the value of {name} must be printable ASCII")
    for name in (*headers, *forward):
        if name.lower() in RESERVED_HEADERS or name.lower().startswith("x-banditd-"):
            raise ValueError(f"the daemon sets the header {name} itself; for a key use api_key_env")


def check_upstreams(
    upstreams: Mapping[str, UpstreamSettings], gateway: GatewaySettings, arms: Mapping[str, Sequence[ArmSettings]]
) -> None:
    """Refuse arms whose upstream does not exist, and names that stand for nothing. Raises ValueError.

    arms : of every policy.
    """
    for name in upstreams:
        if not re.match(NAME_PATTERN, name) or len(name) > 128:
            raise ValueError(f"upstreams: {name!r} cannot be a name: letters, digits and . _ : / @ + -")
    for policy, its_arms in arms.items():
        for arm in its_arms:
            if arm.upstream is not None and arm.upstream not in upstreams:
                raise ValueError(
                    f"policies.{policy}: the arm {arm.arm} names the upstream {arm.upstream}; upstreams has "
                    f"{', '.join(upstreams) or 'none'}"
                )
    if gateway.enabled and not upstreams:
        raise ValueError("gateway.enabled is true, but there is no upstream to call: name one below upstreams")
    if upstreams and (taken := sorted(RESERVED & set(arms))):
        raise ValueError(f"policies: {taken[0]} has another meaning as a model's name; rename the policy")
    if gateway.embeddings is not None and not any(one.arm for one in readings(gateway.embeddings, arms)):
        raise ValueError(
            "gateway.embeddings must name one arm, as banditd/arm/<arm> or banditd/<policy>/arm/<arm>, not "
            f"{gateway.embeddings!r}"
        )
    for alias, target in gateway.aliases.items():
        if not any(readings(target, arms)):
            raise ValueError(
                f"gateway.aliases: {alias} stands for {target}, but there is no such policy: policies are "
                f"{', '.join(arms)}"
            )
