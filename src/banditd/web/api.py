"""What every handler gets: the services, the limits and the metrics; and what one route is.

``Api`` is made before the app starts and gets its services from the cleanup context, so handlers need no
lookups in the application per request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, TypeAlias

from aiohttp import web
from pydantic import BaseModel

from banditd import __version__
from banditd.obs.metrics import Metrics
from banditd.services.bundle import Services
from banditd.web.problems import Kind
from banditd.web.security import ApiKey


class DaemonLike(Protocol):
    """What ``open_services`` gives: the services, and the metrics that they feed too."""

    @property
    def services(self) -> Services: ...
    @property
    def metrics(self) -> Metrics: ...


OpenServices: TypeAlias = Callable[[], AbstractAsyncContextManager[DaemonLike]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Plain values that the HTTP layer needs.

    rate_limit_per_s : per key, or per peer address without keys; 0 switches it off.
    access_log : one line per request; without it only failures are logged.
    """

    api_keys: tuple[ApiKey, ...] = ()
    max_body_bytes: int = 2_097_152
    max_input_chars: int = 1_000_000
    max_batch: int = 256
    max_page: int = 500
    rate_limit_per_s: float = 0.0
    rate_limit_burst: int = 200
    access_log: bool = True
    version: str = __version__


class Api:
    """The one object that handlers share. Services and metrics come before the first request."""

    services: Services
    metrics: Metrics

    def __init__(self, config: WebSettings, describe: Callable[[], bytes]) -> None:
        self.config = config
        self._describe = describe

    @cached_property
    def openapi(self) -> bytes:
        """The API's description; made when it is first asked for, so that starting stays fast."""
        return self._describe()


Handler: TypeAlias = Callable[[Api, web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation: what registers its handler also describes it.

    scope : which scope an API key needs, or None for public paths.
    body, parameters : models of the JSON body and of the query string.
    path_parameters : name to (JSON schema, description).
    answers : status to model of the JSON answer.
    problems : kinds of problems that it may answer with, beside those that every operation has.
    media : content type of an answer that is not JSON.
    """

    method: str
    path: str
    handler: Handler
    operation: str
    summary: str
    tag: str
    scope: str | None
    body: type[BaseModel] | None = None
    body_required: bool = True
    idempotency_key: bool = False
    parameters: type[BaseModel] | None = None
    path_parameters: dict[str, tuple[dict[str, object], str]] = field(default_factory=dict)
    answers: dict[int, type[BaseModel] | None] = field(default_factory=dict)
    problems: tuple[Kind, ...] = ()
    media: str = "application/json"
    pattern: str | None = None  # aiohttp's form of the path where it differs from OpenAPI's
