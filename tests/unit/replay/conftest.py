"""Small folders in the replay format."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

WriteFolder = Callable[..., Path]


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    def write(
        prompts: Sequence[Mapping[str, object]],
        columns: Mapping[str, Sequence[object]],
        meta: Mapping[str, object] | None = None,
        *,
        zipped: bool = True,
    ) -> Path:
        folder = tmp_path / "some_set"
        folder.mkdir(exist_ok=True)
        opener = gzip.open if zipped else open
        ending = ".gz" if zipped else ""
        with opener(folder / f"prompts.jsonl{ending}", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in prompts)
        with opener(folder / f"outcomes.csv{ending}", "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", *columns])
            for i in range(len(prompts)):
                writer.writerow([f"q{i}", *(values[i] for values in columns.values())])
        if meta is not None:
            (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def two_topics(write_folder: WriteFolder) -> Path:
    """Sums are answered by ``small``, poems by ``large``; ``large`` is dearer, ``bad`` never answers."""
    generator = np.random.default_rng(0)
    n = 600
    sums = generator.random(n) < 0.5
    prompts = [
        {
            "prompt": f"Compute {a} + {b} * {a}"
            if is_sum
            else f"Write a tender poem about the sea and love, number {a}",
            "category": "sums" if is_sum else "poems",
            "split": "train" if i < 200 else "test",
        }
        for i, (is_sum, (a, b)) in enumerate(zip(sums, generator.integers(1, 999, (n, 2)).tolist(), strict=True))
    ]
    small = np.where(sums, 0.9, 0.2) > generator.random(n)
    large = np.where(sums, 0.5, 0.8) > generator.random(n)
    return write_folder(
        prompts,
        {
            "small": small.astype(int).tolist(),
            "large": large.astype(int).tolist(),
            "bad": [0] * n,
            "small|cost_usd": [0.0001] * n,
            "large|cost_usd": [0.001] * n,
            "bad|cost_usd": [0.0005] * n,
        },
        {"name": "two_topics", "pools": {"good": ["small", "large"]}},
    )
