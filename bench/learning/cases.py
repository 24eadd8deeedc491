"""What is replayed, as data: the 16 cases of the design study, and the other pools beside them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
QUICK_ROWS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One stream of queries.

    name : as given to ``--case``. dataset : folder below the data. pool : see ``ReplayOptions``.
    cost_weight : L of utility = score - L * mean cost / dearest mean cost.
    limit : rows at most, drawn once. counted : one of the 16 whose mean is the headline.
    """

    name: str
    dataset: str
    pool: str
    cost_weight: float
    limit: int | None = None
    counted: bool = True

    @property
    def folder(self) -> Path:
        return data_folder() / self.dataset

    def quick(self) -> Case:
        rows = QUICK_ROWS if self.limit is None else min(self.limit, QUICK_ROWS)
        return Case(
            name=self.name,
            dataset=self.dataset,
            pool=self.pool,
            cost_weight=self.cost_weight,
            limit=rows,
            counted=self.counted,
        )

    def fingerprint(self) -> str:
        """Changes when the rows or the objective do; tells a cached result from one of other data."""
        sizes = [(file.name, file.stat().st_size) for file in sorted(self.folder.glob("*")) if file.is_file()]
        parts = (self.dataset, self.pool, self.cost_weight, self.limit, sizes)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def data_folder() -> Path:
    """``BANDITD_DATA``, or ``../shared/data`` beside the project."""
    return Path(os.environ.get("BANDITD_DATA") or ROOT.parent / "shared" / "data")


def _cases(dataset: str, pool: str, *, weights: tuple[float, ...], limit: int | None, counted: bool) -> list[Case]:
    label = pool if len(pool) <= 20 else "k3"
    return [
        Case(
            name=f"{dataset}-{label}-{weight:g}",
            dataset=dataset,
            pool=pool,
            cost_weight=weight,
            limit=limit,
            counted=counted,
        )
        for weight in weights
    ]


_WEIGHTS: Final = (0.0, 0.1, 0.3)
_K3: Final = "llama-3.1-8b-instruct,mistral-large-2512,gemini-2.5-pro"

CASES: Final[tuple[Case, ...]] = (
    *_cases("bfcl2408", "api12", weights=_WEIGHTS, limit=None, counted=True),
    *_cases("bfcl2408", "mid10", weights=_WEIGHTS, limit=None, counted=True),
    *_cases("zeroeval3", "api9", weights=_WEIGHTS, limit=None, counted=True),
    *_cases("paretobandit4", "all", weights=_WEIGHTS, limit=None, counted=True),
    *_cases("mmlu_pro", "mid8", weights=_WEIGHTS, limit=5000, counted=True),
    *_cases("ulab_nim9", "all", weights=(0.0,), limit=None, counted=True),
    *_cases("bfcl2408", "cheap8", weights=_WEIGHTS, limit=None, counted=False),
    # 22 of its 71 arms have no price and count as free: with a cost weight they are favoured.
    *_cases("bfcl2408", "all", weights=_WEIGHTS, limit=None, counted=False),
    *_cases("zeroeval3", "all", weights=_WEIGHTS, limit=None, counted=False),
    *_cases("mmlu_pro", "all", weights=_WEIGHTS, limit=None, counted=False),
    *_cases("mmlu_pro", "instruct12", weights=_WEIGHTS, limit=None, counted=False),
    *_cases("zeroeval3", "with_o1mini6", weights=_WEIGHTS, limit=None, counted=False),
    # Pools whose dear arms are old and bad, many equal arms, and prompts that are not English.
    *_cases("bfcl2408", "upside_down9", weights=(0.0,), limit=None, counted=False),
    *_cases("zeroeval3", "upside_down8", weights=(0.0,), limit=None, counted=False),
    *_cases("rational9", "all", weights=(0.0,), limit=5000, counted=False),
    *_cases("halluqa24", "all", weights=(0.0,), limit=None, counted=False),
    *_cases("halluqa24", "mixed8", weights=(0.0,), limit=None, counted=False),
    *_cases("routellm2", "all", weights=_WEIGHTS, limit=None, counted=False),
    *_cases("paretobandit4", _K3, weights=_WEIGHTS, limit=None, counted=False),
)


def select(names: list[str], *, quick: bool) -> list[Case]:
    """Cases by name (a part of a name takes all that begin with it); all of them without names.

    Raises
    ------
    ValueError : a name fits none.
    """
    chosen = [case for case in CASES if not names or any(case.name.startswith(name) for name in names)]
    for name in names:
        if not any(case.name.startswith(name) for case in CASES):
            raise ValueError(f"No case {name!r}; there are {', '.join(case.name for case in CASES)}.")
    return [case.quick() if quick else case for case in chosen]
