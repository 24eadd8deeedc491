"""Read a folder of real outcomes, by its format alone. It knows no data set by name and trains nothing.

``prompts.jsonl[.gz]`` : one object per line with ``prompt`` and any labels: ``category``, else ``source``, is
the category; ``split`` the split; ``features``, an object of numbers, what a caller would send along.
``outcomes.csv[.gz]`` : the same rows in the same order. A column without ``|`` (other than ``id``) is an arm's
score in [0, 1], empty when missing; its cost is the first column ``<arm>|cost...``; ``<arm>|signal_<name>`` is what
its answer shows, ``<arm>|<prefix>_cost_usd`` what the signals with that prefix cost beside the answer, and
``<arm>|answer`` the answer itself (``signals.py``). ``meta.json``, optional: list prices in
``arms`` and named ``pools``. A single CSV file with the prompts as a column does as well (``outcomes.py``).
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray, IntArray, Price
from banditd.replay.outcomes import Table, no_model_here, read_outcomes, read_sheet
from banditd.replay.prices import free_note, known_price, list_price, priced_rows
from banditd.replay.recipe_arms import RecipeArms
from banditd.replay.signals import Signals


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayData:
    """Rows with full information.

    score : float64 (n, K), NaN where missing. cost_usd : float64 (n, K), no NaN.
    category : intp (n,), split : tuple of n labels. prices : list price per arm where ``meta.json`` has one.
    features : caller features by row. labels : all that a row of prompts holds; () where there are none.
    signals : what answers show. recipes : where the last arms are recipes; their scores and costs follow from the
    models before them. notes : what had to be assumed, for the report. unpriced : models whose cost counts as zero
    because nobody knows a price of theirs. is_sheet : read from one CSV file, not from a folder.
    """

    name: str
    prompts: tuple[str, ...]
    arms: tuple[str, ...]
    score: FloatArray
    cost_usd: FloatArray
    category: IntArray
    split: tuple[str, ...]
    prices: Mapping[str, Price]
    features: tuple[Mapping[str, float], ...]
    labels: tuple[Mapping[str, object], ...] = ()
    signals: Signals | None = None
    recipes: RecipeArms | None = None
    notes: tuple[str, ...] = field(default=())
    unpriced: tuple[str, ...] = ()
    is_sheet: bool = False

    @property
    def n_rows(self) -> int:
        return len(self.prompts)

    @property
    def n_models(self) -> int:
        """How many of the arms are models; they stand before the recipes."""
        return len(self.arms) if self.recipes is None else len(self.recipes.models)

    def category_of(self, row: int) -> str:
        """The label that ``category`` numbers."""
        return category_name(self.labels[row]) if self.labels else ""

    def take(self, rows: IntArray) -> ReplayData:
        """The rows of these indices, in that order."""
        return replace(
            self,
            prompts=tuple(self.prompts[i] for i in rows),
            score=self.score[rows],
            cost_usd=self.cost_usd[rows],
            category=self.category[rows],
            split=tuple(self.split[i] for i in rows),
            features=tuple(self.features[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows) if self.labels else (),
            signals=None if self.signals is None else self.signals.take(rows),
            recipes=None if self.recipes is None else self.recipes.take(rows),
        )

    def tags(self, names: Sequence[str]) -> list[dict[str, str]]:
        """These labels of every row as a caller's tags; a row without one has no such tag.

        Raises
        ------
        InvalidInputError : no row has a label of that name that is a text, a number or a truth value.
        """
        found = [
            {name: str(label[name]) for name in names if isinstance(label.get(name), str | int | float)}
            for label in self.labels
        ]
        for name in names:
            if not any(name in tags for tags in found):
                known = ", ".join(sorted({key for label in self.labels for key in label} - {"prompt", "id"}))
                raise InvalidInputError(
                    f"No row has the label {name!r}; labels here: {known or 'none'}.", field="/context_tags"
                )
        return found

    def rows_of(self, split: str) -> IntArray:
        """Indices of the rows of a split.

        Raises
        ------
        InvalidInputError : no row has it.
        """
        rows = np.flatnonzero(np.array([label == split for label in self.split]))
        if rows.size == 0:
            known = ", ".join(sorted(set(self.split) - {""})) or "none"
            raise InvalidInputError(f"No row has the split {split!r}; splits here: {known}.", field="/split")
        return rows


def load_dataset(
    folder: Path,
    pool: str | None = None,
    given: Mapping[str, Price] | None = None,
    labels_named: Collection[str] = (),
) -> ReplayData:
    """Read and check a folder, or a CSV file that has the prompts too.

    Parameters
    ----------
    folder : with ``prompts.jsonl[.gz]`` and ``outcomes.csv[.gz]``, or such a file.
    given : list prices of a file's arms; those of known models need none.
    pool : a named pool of ``meta.json``, or names of arms with commas between, or None for every arm.
    labels_named : columns of a file that are labels, also where they hold numbers.

    Raises
    ------
    InvalidInputError : a file is missing or malformed, or the pool is unknown; says where.
    """
    is_sheet = folder.is_file()
    read = _read_sheet(folder, labels_named) if is_sheet else _read_folder(folder)
    prompts, labels, (header, table, texts), meta, notes = read
    arms = _pool_arms(pool, [name for name in header if "|" not in name], meta)
    score = np.column_stack([table[:, header.index(arm)] for arm in arms])
    bad = (score < 0.0) | (score > 1.0)
    if bad.any():
        row, arm = np.argwhere(bad)[0]
        mend = f" {no_model_here(arms[arm])}" if is_sheet else ""
        raise InvalidInputError(f"Score {score[row, arm]} of {arms[arm]} in row {row + 1} is outside [0, 1].{mend}")
    scored = np.flatnonzero(np.isfinite(score).any(axis=1))
    if scored.size == 0:
        raise InvalidInputError("No arm of the pool has any score.")
    found = {arm: (given or {}).get(arm, known_price(arm)) if is_sheet else list_price(meta, arm) for arm in arms}
    prices = {arm: price for arm, price in found.items() if price is not None}
    cost, unpriced, assumed = _costs(arms, header, table, prompts, prices)
    notes += [*assumed, *(free_note(arm, is_sheet=is_sheet) for arm in unpriced)]
    names = [category_name(label) for label in labels]
    order = {name: i for i, name in enumerate(sorted(set(names)))}
    if scored.size < len(prompts):
        notes.append(f"{len(prompts) - scored.size} rows without any score in this pool were left out")
    data = ReplayData(
        name=str(meta.get("name") or folder.resolve().name),
        prompts=tuple(prompts),
        arms=tuple(arms),
        score=score,
        cost_usd=cost,
        category=np.array([order[name] for name in names], dtype=np.intp),
        split=tuple(str(label.get("split") or "") for label in labels),
        prices=prices,
        features=tuple(_features(label, row) for row, label in enumerate(labels, start=1)),
        labels=tuple(labels),
        signals=_signals(arms, header, table, texts),
        notes=tuple(notes),
        unpriced=tuple(unpriced),
        is_sheet=is_sheet,
    )
    return data if scored.size == len(prompts) else data.take(scored)


_Read = tuple[list[str], list[Mapping[str, object]], Table, Mapping[str, object], list[str]]
"""Prompts, labels, outcomes, ``meta.json``, notes."""


def _read_sheet(file: Path, labels_named: Collection[str]) -> _Read:
    labels, table, notes = read_sheet(file.name, _lines(file), labels_named)
    return [str(label["prompt"]) for label in labels], labels, table, {}, notes


def _read_folder(folder: Path) -> _Read:
    if not folder.exists():
        raise InvalidInputError(f"there is no file or folder {folder}")
    prompts, labels = _read_prompts(_find(folder, "prompts.jsonl"))
    file = _find(folder, "outcomes.csv")
    table = read_outcomes(file.name, _lines(file), len(prompts))
    meta_file = folder / "meta.json"
    meta = json.loads(meta_file.read_text(encoding="utf-8")) if meta_file.exists() else {}
    return prompts, labels, table, meta, []


def category_name(label: Mapping[str, object]) -> str:
    return str(label.get("category") or label.get("source") or "")


def _signals(
    arms: Sequence[str], header: Sequence[str], table: FloatArray, texts: Mapping[str, Sequence[str | None]]
) -> Signals:
    """Signals that any arm of the pool has; an arm without one has none in any row."""
    index = {name: i for i, name in enumerate(header)}
    prefixes = [f"{arm}|signal_" for arm in arms]
    names = {name[len(prefix) :] for name in header for prefix in prefixes if name.startswith(prefix)}

    def columns(wanted: Sequence[str]) -> FloatArray:
        found = [index.get(name) for name in wanted]
        return np.column_stack([np.full(len(table), np.nan) if i is None else table[:, i] for i in found])

    stems = {name.split("_", 1)[0] for name in names}
    costs = {stem: columns([f"{arm}|{stem}_cost_usd" for arm in arms]) for stem in sorted(stems)}
    return Signals(
        values={name: columns([prefix + name for prefix in prefixes]) for name in sorted(names)},
        texts={arm: texts[f"{arm}|answer"] for arm in arms if f"{arm}|answer" in texts},
        costs_usd={stem: usd for stem, usd in costs.items() if np.isfinite(usd).any()},
    )


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise InvalidInputError(f"{folder} has neither {name}.gz nor {name}.")


def _lines(path: Path) -> Iterator[str]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except PermissionError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path.name} is damaged or not UTF-8: {error}.") from error
    yield from io.StringIO(text, newline="")


def _features(label: Mapping[str, object], row: int) -> Mapping[str, float]:
    given = label.get("features")
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(type(value) in {int, float} for value in given.values()):
        raise InvalidInputError(f"The features of row {row} are not an object of numbers.", field="/features")
    return given


def _read_prompts(path: Path) -> tuple[list[str], list[Mapping[str, object]]]:
    prompts: list[str] = []
    labels: list[Mapping[str, object]] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            prompts.append(str(row["prompt"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{path.name}, line {number}: not an object with a prompt.") from error
        labels.append(row)
    if not prompts:
        raise InvalidInputError(f"{path.name} has no rows.")
    return prompts, labels


def _pool_arms(pool: str | None, arms: Sequence[str], meta: Mapping[str, object]) -> list[str]:
    pools = meta.get("pools")
    named = pools if isinstance(pools, dict) else {}
    if pool is None or (pool == "all" and "all" not in named):
        chosen = list(arms)
    elif pool in named:
        chosen = [str(arm) for arm in named[pool]]
    else:
        chosen = [part.strip() for part in pool.split(",") if part.strip()]
    unknown = [arm for arm in chosen if arm not in arms]
    if unknown:
        raise InvalidInputError(
            f"Unknown pool or arm {unknown[0]!r}; pools: {', '.join(named) or 'none'}; arms: {', '.join(arms)}.",
            field="/pool",
        )
    if not chosen or len(set(chosen)) != len(chosen):
        raise InvalidInputError("A pool needs at least one arm and none twice.", field="/pool")
    return chosen


def _costs(
    arms: Sequence[str],
    header: Sequence[str],
    table: FloatArray,
    prompts: Sequence[str],
    prices: Mapping[str, Price],
) -> tuple[FloatArray, list[str], list[str]]:
    """Costs (n, K) in dollars, arms that nobody knows a price of, and notes on what was assumed."""
    columns = {
        arm: next((i for i, name in enumerate(header) if name.startswith(f"{arm}|cost")), None) for arm in arms
    }
    unpriced: list[str] = []
    notes: list[str] = []
    cost = np.zeros((len(prompts), len(arms)))
    for k, arm in enumerate(arms):
        column = columns[arm]
        values = None if column is None else table[:, column]
        if column is not None and values is not None and np.isfinite(values).any():
            known = np.isfinite(values)
            if (values[known] < 0.0).any():
                row = int(np.flatnonzero(values < 0.0)[0])
                raise InvalidInputError(
                    f"Cost {values[row]} of {header[column]} in row {row + 1} is negative: costs are dollars spent."
                )
            cost[:, k] = np.where(known, values, values[known].mean())
            if not known.all():
                notes.append(f"{arm}: {int((~known).sum())} missing costs replaced by its mean cost")
        elif arm in prices:
            cost[:, k] = priced_rows(prices[arm], prompts, _output_tokens(arm, header, table))
            notes.append(f"{arm}: no cost column; list price times estimated tokens")
        else:
            unpriced.append(arm)
    return cost, unpriced, notes


def _output_tokens(arm: str, header: Sequence[str], table: FloatArray) -> FloatArray | None:
    for suffix, factor in (("output_tokens", 1.0), ("output_chars", 0.25)):
        name = f"{arm}|{suffix}"
        if name in header:
            return table[:, header.index(name)] * factor
    return None
