"""The database fails between a commit and the answer: nobody is told that nothing was stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from banditd.core.errors import OutcomeUnknownError, StorageUnavailableError
from banditd.core.request_keys import RequestKey
from banditd.core.types import Arm, Price
from banditd.daemon.open import Daemon, open_services
from banditd.settings import Settings

ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
Change = Callable[[Daemon, RequestKey], Awaitable[Any]]


@pytest.fixture
async def daemon(database_url: str) -> AsyncIterator[Daemon]:
    settings = Settings(database={"url": database_url}, policies={"default": {"arms": ARMS}})
    async with open_services(settings, start_jobs=False) as opened:
        yield opened


def add(daemon: Daemon, key: RequestKey) -> Awaitable[Any]:
    price = Price(usd_per_mtok_in=1.0, usd_per_mtok_out=2.0)
    return daemon.services.arms.add(Arm(policy="default", arm="new", upstream_model="new", price=price), key)


def patch(daemon: Daemon, key: RequestKey) -> Awaitable[Any]:
    return daemon.services.arms.patch("default", "small", {"expected_output_tokens": 77.0}, key=key)


def delete(daemon: Daemon, key: RequestKey) -> Awaitable[Any]:
    return daemon.services.arms.delete("default", "small", key)


@pytest.mark.parametrize("change", [add, patch, delete])
async def test_a_changed_arm_that_cannot_be_read_again_is_told_to_be_stored(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    async def fails(*_given: Any, **_options: Any) -> None:
        raise StorageUnavailableError("The database does not answer in time. Nothing was stored. Try again.")

    key = RequestKey(key_name="", operation=change.__name__, key="once", request_hash="same")
    before = {arm.arm: arm.expected_output_tokens for arm in await daemon.storage.arms.arms("default")}
    with monkeypatch.context() as broken:
        broken.setattr(daemon.storage.database, "read", fails)
        with pytest.raises(OutcomeUnknownError, match="is stored"):
            await change(daemon, key)
    after = {arm.arm: arm.expected_output_tokens for arm in await daemon.storage.arms.arms("default")}
    assert after != before
    again = await change(daemon, key)  # the same key tells that it is done
    assert again is True or again.duplicate
    assert {arm.arm: arm.expected_output_tokens for arm in await daemon.storage.arms.arms("default")} == after
