"""Maintains the columns of context tags: new values get a position in the database, and every replica learns of
them.
"""

from __future__ import annotations

from collections.abc import Mapping

from banditd.features.tags import PLACES
from banditd.ports.tags import ContextValueStore
from banditd.services.policy import PolicyRuntime


class ContextValues:
    """Until a value has a position, queries with it use the column of all other values."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], store: ContextValueStore) -> None:
        self._store = store
        self._columns = {
            name: runtime.builder.tag_columns
            for name, runtime in runtimes.items()
            if runtime.builder.tag_columns.tags
        }

    async def keep(self) -> None:
        """Assign positions to values met since the last call, and adopt those that other replicas assigned."""
        for policy, columns in self._columns.items():
            columns.adopt(await self._store.places(policy, columns.unseen(), at_most=PLACES))
