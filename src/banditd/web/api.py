"""What every handler gets: the services, the limits and the metrics; and what one route is.

``Api`` is made before the app starts and gets its services from the cleanup context, so handlers need no
lookups in the application per request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Final, Protocol, TypeAlias, TypeVar

from aiohttp import web
from pydantic import BaseModel

from banditd import __version__
from banditd.core.errors import NotFoundError
from banditd.obs.metrics import Metrics
from banditd.services.bundle import Services
from banditd.web.gateway.places import Places
from banditd.web.gateway.watch import ClientWatch
from banditd.web.problems import Kind, problem_answer
from banditd.web.security import ApiKey, RateLimiter

Service = TypeVar("Service")


class DaemonLike(Protocol):
    """What ``open_services`` gives: the services, and the metrics that they feed too."""

    @property
    def services(self) -> Services: ...
    @property
    def metrics(self) -> Metrics: ...


OpenServices: TypeAlias = Callable[[], AbstractAsyncContextManager[DaemonLike]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayWebSettings:
    """What the surfaces of the gateway need.

    aliases : other names of models to names of ours. keepalive_s : silence after which a stream gets a comment.
    max_streams_per_key : requests of one caller at once. own_ids : the decision's id stands for the upstream's.
    prompt_cache_s : how long a model is believed to have a conversation in its prompt cache.
    embeddings : name of the arm that embeds where a request names none.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    max_body_bytes: int = 33_554_432
    keepalive_s: float = 15.0
    max_streams_per_key: int = 1000
    own_ids: bool = False
    prompt_cache_s: float = 300.0
    embeddings: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Plain values that the HTTP layer needs.

    trace_as_task : the trace of a request is the task of a query that names none.
    rate_limit_per_s : per key, or per peer address without keys; 0 switches it off.
    access_log : one line per request; without it only failures are logged.
    allowed_hosts, bound_host : names that the daemon answers to, see ``origin.Doorman``.
    body_timeout_s : longest time for a body to arrive; header_timeout_s : for a head.
    write_timeout_s : longest time in which a client may take nothing of its answer.
    public_url : where people reach the daemon; links begin with it.
    shutdown_timeout_s : longest wait for running requests at the end.
    """

    api_keys: tuple[ApiKey, ...] = ()
    max_body_bytes: int = 2_097_152
    max_input_chars: int = 1_000_000
    max_batch: int = 256
    max_page: int = 500
    trace_as_task: bool = False
    rate_limit_per_s: float = 0.0
    rate_limit_burst: int = 200
    access_log: bool = True
    allowed_hosts: tuple[str, ...] = ()
    bound_host: str = "127.0.0.1"
    body_timeout_s: float = 30.0
    header_timeout_s: float = 10.0
    write_timeout_s: float = 30.0
    shutdown_timeout_s: float = 20.0
    gateway: GatewayWebSettings = GatewayWebSettings()
    public_url: str | None = None
    version: str = __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRule:
    """What a route takes as a body; every route has one, so that a body is refused before it is read.

    types : media types in lower case; ``application/json`` means ``application/*+json`` too. The first is advised.
    most_bytes : from the settings to the limit, of the body as it comes and as it is inflated.
    bounded : refuse bodies of more values than a model may cost to check (``intake.check_values``); False for a route
        that does not validate all of its body. most_elements : of all lists and objects of such a body.
    """

    types: tuple[str, ...] = ("application/json",)
    most_bytes: Callable[[WebSettings], int] = attrgetter("max_body_bytes")
    bounded: bool = True
    most_elements: int = 40_000


JSON_BODY: Final = BodyRule()
# Its queries are checked one by one, and each may have an embedding.
BATCH_BODY: Final = BodyRule(most_elements=300_000)


class Api:
    """The one object that handlers share. Services and metrics come before the first request."""

    services: Services
    metrics: Metrics

    def __init__(self, config: WebSettings, describe: Callable[[], bytes]) -> None:
        self.config = config
        self.watch = ClientWatch(config.gateway.keepalive_s)
        # Of one link: somebody who presses its buttons on and on.
        self.feedback_limiter = RateLimiter(rate_per_s=0.2, burst=10)
        self.places = Places(config.gateway.max_streams_per_key)
        self._describe = describe

    @cached_property
    def openapi(self) -> bytes:
        """The API's description; made when it is first asked for, so that starting stays fast."""
        return self._describe()


def there(service: Service | None, otherwise: str, code: str) -> Service:
    """A service that this daemon may be without. Raises NotFoundError."""
    if service is None:
        raise NotFoundError(otherwise, code=code)
    return service


Handler: TypeAlias = Callable[[Api, web.Request], Awaitable[web.StreamResponse]]
Failed: TypeAlias = Callable[[BaseException, str], web.Response]
"""From an error and the request's id to the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation: what registers its handler also describes it.

    scope : which scope an API key needs, or None for public paths.
    body, parameters : models of the JSON body and of the query string.
    path_parameters : name to (JSON schema, description).
    answers : status to model of the JSON answer.
    problems : kinds of problems that it may answer with, beside those that every operation has.
    media : content type of an answer that is not JSON.
    takes : what is taken as a body: types, limit.
    by_any_name : answered whatever name the request asks for: health checks come by address.
    failed : how errors are answered where that is not as problem details; ``error_model`` describes it.
    details : the scope that sees more of the answer of a public path (``keys.SEES_DETAILS``).
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
    takes: BodyRule = JSON_BODY
    by_any_name: bool = False
    details: str | None = None
    failed: Failed = problem_answer
    error_model: type[BaseModel] | None = None
    pattern: str | None = None  # aiohttp's form of the path where it differs from OpenAPI's
