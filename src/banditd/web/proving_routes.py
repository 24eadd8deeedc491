"""The operations with which a change is proven before, during and after it is made."""

from __future__ import annotations

from typing import Final

from banditd.web.api import Route
from banditd.web.candidate_routes import CANDIDATE_ROUTES
from banditd.web.drift_routes import DRIFT_ROUTES
from banditd.web.judging_routes import JUDGING_ROUTES
from banditd.web.release_routes import RELEASE_ROUTES

PROVING_ROUTES: Final[tuple[Route, ...]] = (*JUDGING_ROUTES, *CANDIDATE_ROUTES, *RELEASE_ROUTES, *DRIFT_ROUTES)
