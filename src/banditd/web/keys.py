"""Typed keys of the aiohttp application and its requests: the only way to reach into them from outside."""

from __future__ import annotations

from aiohttp import web

from banditd.services.bundle import Services
from banditd.web.api import Api
from banditd.web.intake import Intake

API = web.AppKey("api", Api)
SERVICES = web.AppKey("services", Services)
DIRECT = web.AppKey("direct", dict)
"""(method, path) to who answers, without the application's router; empty where something stands around ours."""
KEY_NAME = web.RequestKey("key_name", str)
"""Name of the API key that asked; not there without keys."""
INTAKE = web.RequestKey("intake", Intake)
"""Reads the body; not there without a body."""
TRACE_ID = web.RequestKey("trace_id", str)
"""Of the daemon's own span; not there without traces."""
SEES_DETAILS = web.RequestKey("sees_details", bool)
"""Whether the caller may see the details of a public answer; only on routes that have some."""
