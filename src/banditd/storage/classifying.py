"""The classifiers' account, beside those of judges: a call is paid for before it is made.

A replica that is killed meanwhile may have made the call or not; what was reserved counts as spent.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sqlalchemy import Connection

from banditd.core.judging import JudgeCost
from banditd.core.types import DAY_US
from banditd.storage import dialect
from banditd.storage.engine import Database
from banditd.storage.hourly_book import HourlyBook, booking
from banditd.storage.schema import JUDGE_SUMS, judge_account

ACCOUNT: Final = "{policy} classifier"
"""No judge can have that name."""


class SqlClassifierStore:
    """``ports.classifying.ClassifierStore`` over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._book = HourlyBook(database.engine, judge_account, JUDGE_SUMS)

    async def reserve(self, policy: str, usd: float, most_usd: float | None, now_us: int) -> bool:
        booked = booking(ACCOUNT.format(policy=policy), policy, now_us, calls=1, cost_usd=usd)

        def work(connection: Connection) -> bool:
            if most_usd is not None:
                dialect.lock_accounts(connection)  # two replicas must not spend the same dollar
                if self._spent_usd(connection, policy, now_us - DAY_US, None) + usd > most_usd:
                    return False
            self._book.book(connection, [booked])
            return True

        return await self._database.write(work)

    async def settle(self, policy: str, beyond: JudgeCost, reserved_at_us: int) -> None:
        booked = booking(ACCOUNT.format(policy=policy), policy, reserved_at_us, **asdict(beyond))
        await self._database.write(lambda connection: self._book.book(connection, [booked]))

    async def spent_usd(self, policy: str, since_us: int | None, until_us: int | None) -> float:
        return await self._database.read(lambda connection: self._spent_usd(connection, policy, since_us, until_us))

    def _spent_usd(self, connection: Connection, policy: str, since_us: int | None, until_us: int | None) -> float:
        this_account = judge_account.c.judge == ACCOUNT.format(policy=policy)
        return self._book.cost_usd(connection, policy, since_us, until_us, this_account)
