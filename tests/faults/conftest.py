"""Networks, replicas and disks that fail, around real databases and real daemons."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench/ is shared with `make chaos`

from bench.proxy import Proxy


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    """A proxy before a database of the test's own."""
    with Proxy.before(postgres_url) as running:
        yield running
