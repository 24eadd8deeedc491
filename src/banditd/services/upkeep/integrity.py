"""Looks for damage: damaged rows of the log, and statistics that do not match the rewards."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.core.errors import InvariantError
from banditd.ports import LearningStore
from banditd.services.learning.folding import contribution_of, other_contributions_of
from banditd.services.policy import PolicyRuntime


class Integrity:
    """Checks ``sample`` rows and ``sample`` contributions of each policy per run."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], learning: LearningStore, sample: int) -> None:
        self._runtimes = runtimes
        self._learning = learning
        self._sample = sample
        self._checked_to: dict[str, str | None] = {}

    async def run(self) -> None:
        """Recompute a sample of contributions from their rewards; a difference is a bug and raises an alarm.

        The log's rows are read section by section, so that all are checked after some runs.

        Raises
        ------
        InvariantError : a stored contribution does not match its rewards, or a row of the log is damaged.
        """
        for name, runtime in self._runtimes.items():
            damaged, self._checked_to[name] = await self._learning.check_rows(
                name, self._checked_to.get(name) or "", self._sample
            )
            if damaged:
                raise InvariantError(
                    f"policy {name}: the rows of {len(damaged)} decisions are damaged, first {damaged[0]}; "
                    "run 'banditd rebuild'"
                )
            sample = await self._learning.sample_contributions(name, self._sample)
            wrong = [
                item.decision_id
                for item in sample
                # Queued decisions may lag; those of another feature schema wait for its learner.
                if not item.queue_ids
                and item.damage is None
                and item.schema_hash == runtime.builder.schema.hash
                and (contribution_of(item), other_contributions_of(item))
                != (item.contribution, item.other_contributions)
            ]
            if wrong:
                raise InvariantError(
                    f"policy {name}: {len(wrong)} of {len(sample)} sampled decisions are not in the statistics "
                    f"as their rewards say, first {wrong[0]}; run 'banditd rebuild'"
                )
