"""Two daemons whose queries come together on one account, one of which is killed: no more is spent than there was, or
than the mean allows over the queries of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select
from tests.e2e.conftest import Running, Start

from banditd.budget.pacer import OVERDRAFT
from banditd.client import BudgetUsedUpError, DaemonClient, UnavailableError
from banditd.storage.schema import budget_account, decision

USD = 0.4
PRICES = {"small": 0.0007, "large": 0.011}
CONFIG = f"""
policies:
  default:
    budgets: [{{name: day, usd: {USD}, per: day, at_stop: reject}}]
    arms:
      - {{arm: small, price: {{usd_per_request: {PRICES["small"]}}}, quality_prior: 0.3}}
      - {{arm: large, price: {{usd_per_request: {PRICES["large"]}}}, quality_prior: 0.9}}
"""
MEAN_USD = 0.004
MEAN_CONFIG = CONFIG.replace(f"usd: {USD}, per: day, at_stop: reject", f"usd: {MEAN_USD}, per: decision")
DECISIONS = 2000
CLIENTS = 12


async def ask(daemon: Running, told: Counter[str], ends: type[Exception] = BudgetUsedUpError) -> None:
    """Until the budget is used up, or it ends otherwise."""
    async with DaemonClient(daemon.url) as client:
        with contextlib.suppress(BudgetUsedUpError, ends):
            while True:
                told[str((await client.route({"input": "a query"}))["arm"])] += 1


async def kill(daemon: Running, told: Counter[str], after: int = 20) -> None:
    while told.total() < after:  # noqa: ASYNC110 - the other side is a process
        await asyncio.sleep(0.01)
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()


def stored(url: str) -> tuple[dict[str, int], float]:
    """(decisions of each arm, what they were charged) by the database."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        counted = connection.execute(select(decision.c.arm, func.count()).group_by(decision.c.arm))
        made: dict[str, int] = dict(map(tuple, counted))
        [charged_usd] = connection.scalars(select(budget_account.c.charged_usd))
    engine.dispose()
    return made, charged_usd


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_no_more_is_spent_than_there_was(
    start: Start, empty_postgres_url: str, tmp_path: Path, database: str
) -> None:
    config = tmp_path / "budget.yaml"
    config.write_text(CONFIG)
    url = empty_postgres_url if database == "postgresql" else f"sqlite:///{tmp_path}/banditd.db"
    one, other = (start(database=url, config=config) for _ in range(2))
    told: Counter[str] = Counter()
    dying = [ask(one, told, UnavailableError) for _ in range(CLIENTS)]
    await asyncio.gather(kill(one, told), *dying, *(ask(other, told) for _ in range(CLIENTS)))
    again = start(database=url, config=config)
    await asyncio.gather(*(ask(daemon, told) for daemon in (again, other) for _ in range(CLIENTS)))
    made, charged_usd = stored(url)
    spent_usd = sum(PRICES[arm] * count for arm, count in made.items())
    assert 0.9 * USD < spent_usd <= USD + 1e-9
    assert charged_usd == pytest.approx(spent_usd)
    assert all(made[arm] >= count for arm, count in told.items())  # what was answered is stored


async def ask_until(daemon: Running, told: Counter[str], decisions: int) -> None:
    async with DaemonClient(daemon.url) as client:
        with contextlib.suppress(UnavailableError):
            while told.total() < decisions:
                told[str((await client.route({"input": "a query"}))["arm"])] += 1


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_mean_is_held_over_the_queries_of_both(
    start: Start, empty_postgres_url: str, tmp_path: Path, database: str
) -> None:
    config = tmp_path / "budget.yaml"
    config.write_text(MEAN_CONFIG)
    url = empty_postgres_url if database == "postgresql" else f"sqlite:///{tmp_path}/banditd.db"
    one, other = (start(database=url, config=config) for _ in range(2))
    told: Counter[str] = Counter()
    dying = [ask_until(one, told, DECISIONS) for _ in range(CLIENTS)]
    await asyncio.gather(
        kill(one, told, DECISIONS // 3), *dying, *(ask_until(other, told, DECISIONS // 2) for _ in range(CLIENTS))
    )
    again = start(database=url, config=config)
    await asyncio.gather(*(ask_until(daemon, told, DECISIONS) for daemon in (again, other) for _ in range(CLIENTS)))
    made, charged_usd = stored(url)
    spent_usd = sum(PRICES[arm] * count for arm, count in made.items())
    # What a pacer lets the account owe, and what the requests that are under way do not know of each other.
    owed_usd = OVERDRAFT * MEAN_USD + 2 * CLIENTS * (PRICES["large"] - MEAN_USD)
    due_usd = MEAN_USD * sum(made.values())
    assert 0.95 * due_usd < spent_usd <= due_usd + owed_usd
    assert charged_usd == pytest.approx(spent_usd)
    assert all(made[arm] >= count for arm, count in told.items())
