"""Say once at the start where the configuration and the stored arms differ: the database is the truth. Floor 6."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from banditd.daemon.price_file import PriceFileWatcher
from banditd.ports import ArmStore, Clock
from banditd.services.arm_differences import ArmDifference, arm_differences, plain_arms
from banditd.services.arms import ArmService
from banditd.services.policy import PolicyRuntime
from banditd.settings import Settings
from banditd.storage import Storage

logger = logging.getLogger(__name__)
_NAMED = 20


async def compare_with_files(
    settings: Settings, runtimes: Mapping[str, PolicyRuntime], storage: Storage, arms: ArmService, clock: Clock
) -> PriceFileWatcher:
    """Say where the stored arms differ from the configuration; gives what watches the files of prices."""
    files = {name: p.prices_file for name, p in settings.policies.items() if p.prices_file is not None}
    await warn_of_differences(runtimes, storage.arms, priced_by_file=frozenset(files))
    return PriceFileWatcher(files, arms=arms, jobs=storage.jobs, clock=clock)


async def warn_of_differences(
    runtimes: Mapping[str, PolicyRuntime], store: ArmStore, *, priced_by_file: frozenset[str]
) -> None:
    """One warning for all policies, with the command that shows and settles the differences; none without any."""
    found: list[ArmDifference] = []
    for name, runtime in runtimes.items():
        running = plain_arms(await store.arms(name))
        wanted = plain_arms(runtime.config.seed_arms)
        found += arm_differences(name, wanted, running, prices=name not in priced_by_file)
    if found:
        logger.warning(
            "arms.differ_from_configuration",
            extra={
                "differences": [_reported(difference) for difference in found[:_NAMED]],
                "count": len(found),
                "note": "the stored arms are served; 'banditd apply config.yaml' shows the differences, "
                "with --yes it applies the file",
            },
        )


def _reported(difference: ArmDifference) -> str:
    place = f"{difference.policy}/{difference.arm}"
    if difference.action == "add":
        return f"{place}: only in the file (deleted over HTTP)"
    if difference.action == "delete":
        return f"{place}: not in the file"
    return f"{place}: " + ", ".join(
        f"{name} {old!r}, in the file {new!r}" for name, (old, new) in difference.fields.items()
    )
