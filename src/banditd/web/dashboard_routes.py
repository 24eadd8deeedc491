"""The routes of what only the dashboard shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel

from banditd.web.api import Route
from banditd.web.handlers import dashboard
from banditd.web.problems import INVALID, NOT_FOUND, UNAVAILABLE
from banditd.web.route_parts import look
from banditd.web.schemas import dashboard as schemas
from banditd.web.schemas.base import ParameterModel, PolicyParameters


def _stats(
    path: str,
    handler: Callable[..., Any],
    summary: str,
    answer: type[BaseModel],
    parameters: type[ParameterModel] = PolicyParameters,
) -> Route:
    return look(
        f"/v1/stats/{path}", handler, f"stats{path.capitalize()}", summary,
        parameters=parameters, answers={200: answer}, problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    )  # fmt: skip


DASHBOARD_ROUTES: Final[tuple[Route, ...]] = (
    _stats(
        "map", dashboard.map_, "Where recent queries lie, and what answered them", schemas.MapAnswer,
        schemas.MapParameters,
    ),
    _stats(
        "upstreams", dashboard.upstreams, "Calls of upstreams: how many, how they ended", schemas.UpstreamsAnswer,
        schemas.UpstreamsParameters,
    ),
    _stats("choices", dashboard.choices, "What the policy would choose per cluster", schemas.ChoicesAnswer),
    _stats(
        "abilities", dashboard.abilities, "How difficult queries are, and how able arms, on one scale",
        schemas.AbilitiesAnswer,
    ),
    _stats("learning", dashboard.learning, "What was learned, against fixed arms", schemas.LearningAnswer),
)  # fmt: skip
