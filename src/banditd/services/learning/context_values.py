"""Keeps the columns of context tags: new values get a place in the database, and every replica knows them all."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.features.tags import PLACES
from banditd.ports.tags import ContextValueStore
from banditd.services.policy import PolicyRuntime


class ContextValues:
    """Until a value has its place, queries with it stand in the column of all other values."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], store: ContextValueStore) -> None:
        self._store = store
        self._columns = {
            name: runtime.builder.tag_columns
            for name, runtime in runtimes.items()
            if runtime.builder.tag_columns.tags
        }

    async def keep(self) -> None:
        """Give places to what was met since the last time, and adopt what other replicas gave."""
        for policy, columns in self._columns.items():
            columns.adopt(await self._store.places(policy, columns.unseen(), at_most=PLACES))
