"""Accounts of very many tags: looked up, not walked through."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from banditd.core.money import AccountKey, AccountTotals, BudgetRule
from banditd.core.types import Query
from banditd.services.money.budgets import ACCOUNTS_KEPT, BudgetBook

HOUR_US = 3_600_000_000


class Store:
    def __init__(self) -> None:
        self.asked = 0

    async def accounts(self, keys: Sequence[AccountKey]) -> Mapping[AccountKey, AccountTotals]:
        self.asked += len(keys)
        return {}


class Counting(OrderedDict[Any, Any]):
    """Counts how many entries are walked over."""

    walked = 0

    def __iter__(self) -> Any:
        for key in super().__iter__():
            type(self).walked += 1
            yield key

    def __reversed__(self) -> Any:
        for key in super().__reversed__():
            type(self).walked += 1
            yield key

    def items(self) -> Any:
        type(self).walked += len(self)
        return super().items()

    def values(self) -> Any:
        type(self).walked += len(self)
        return super().values()


def a_book(store: Store) -> BudgetBook:
    book = BudgetBook("default", [BudgetRule(name="team", usd=1.0, per="hour", of="tag:team")], store, None)  # type: ignore[arg-type]
    book._accounts = Counting()
    return book


async def test_a_new_tag_value_costs_the_same_however_many_there_are() -> None:
    store = Store()
    book = a_book(store)
    walked = []
    for number in range(3 * ACCOUNTS_KEPT):
        Counting.walked = 0
        await book.accounts(Query(text="x", tags={"team": str(number)}), HOUR_US)
        walked.append(Counting.walked)
    assert max(walked) <= 1  # at most the one that is pushed out
    assert len(book._newest) == len(book._accounts) == ACCOUNTS_KEPT
    assert store.asked == 2 * len(walked)


async def test_a_refresh_walks_once_over_what_is_kept_and_drops_ended_windows() -> None:
    book = a_book(Store())
    for window in (1, 2):
        for number in range(900):
            await book.accounts(Query(text="x", tags={"team": str(number)}), window * HOUR_US)
    Counting.walked = 0
    await book.refresh(2 * HOUR_US + 1)
    assert Counting.walked <= 2 * 1800
    assert len(book._accounts) == 900
    assert {key.window_at_us for key in book._accounts} == {2 * HOUR_US}


async def test_prices_go_on_from_window_to_window() -> None:
    book = a_book(Store())
    query = Query(text="x", tags={"team": "red"})
    [first] = await book.accounts(query, HOUR_US)
    [second] = await book.accounts(query, 2 * HOUR_US)
    assert second is not first
    assert second.pacer is first.pacer
