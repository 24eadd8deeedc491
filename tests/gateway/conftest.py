"""The fault upstream in this process, and what calls it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench/ is not installed

from bench.faulty.app import Faulty, serving


@pytest.fixture
async def faulty() -> AsyncIterator[Faulty]:
    async with serving() as server:
        yield server
