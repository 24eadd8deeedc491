"""Looking for damage: rows of the log, and statistics that are not what the rewards give."""

from __future__ import annotations

from collections.abc import Mapping

from banditd.core.errors import InvariantError
from banditd.ports import LearningStore
from banditd.services.learning.folding import contribution_of, other_contributions_of
from banditd.services.policy import PolicyRuntime


class Integrity:
    """Looks at ``sample`` rows and ``sample`` contributions of each policy in a run."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], learning: LearningStore, sample: int) -> None:
        self._runtimes = runtimes
        self._learning = learning
        self._sample = sample
        self._checked_to: dict[str, str | None] = {}

    async def run(self) -> None:
        """Recompute a sample of contributions from their rewards; a difference is a bug and an alarm.

        The rows of the log are read one stretch after the other, so that after some runs each was looked at.

        Raises
        ------
        InvariantError : a stored contribution is not what its rewards give, or a row of the log is damaged.
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
                # Queued decisions may lag, those of another feature schema wait for a learner of theirs.
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
