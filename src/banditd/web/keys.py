"""Typed keys of the aiohttp application: the only way to reach into it from outside."""

from __future__ import annotations

from aiohttp import web

from banditd.services.bundle import Services
from banditd.web.api import Api

API = web.AppKey("api", Api)
SERVICES = web.AppKey("services", Services)
