"""The made-up year that the pages are measured on: its counters add up like the daemon's."""

from __future__ import annotations

import numpy as np
from bench import pages, year_counters
from bench.year_counters import ARMS, TAGS, Year

from banditd.storage.schema import SUMS

DAY_US = 86_400_000_000


def test_counters_of_a_year_add_up_to_its_decisions_whatever_they_are_grouped_by() -> None:
    n, rng = 500, np.random.default_rng(1)
    at_us = 20_000 * DAY_US + np.arange(n) * (60 * DAY_US // n)
    flags = [(rng.random(n) < 0.3).astype(np.intp) for _ in range(2)]
    nothing = np.zeros(n, dtype=np.intp)
    year = Year(at_us, rng.integers(len(ARMS), size=n), nothing, nothing, *flags, tags=dict.fromkeys(TAGS, nothing))
    starts, sizes = year_counters._buckets(at_us, 300, ((300, 3600, 2 * 86_400), (3600, 86_400, 35 * 86_400)))
    assert sorted(set(sizes.tolist())) == [300, 3600, 86_400]
    assert (starts <= at_us).all() and (at_us < starts + 1_000_000 * sizes).all()
    sums = year_counters._sums_of_types(SUMS)
    for keys in ([starts, sizes], [nothing]):
        rows = list(year_counters._summed(keys, year.type, sums))
        for name, wanted in (("decisions", n), ("rewards", flags[0].sum()), ("fixed_decisions", n * len(ARMS))):
            assert sum(values[SUMS.index(name)] for _, _, values in rows) == wanted


def test_every_page_of_the_dashboard_has_its_requests() -> None:
    assert all(path.startswith("/v1/") for paths in pages.PAGES.values() for path in paths)
