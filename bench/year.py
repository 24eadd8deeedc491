"""A busy year of a policy as a SQLite file, written past the daemon: a million decisions in some two minutes.

Rows are the daemon's own (``rows_of``, their checksums hold): decisions under a promise with ten tags each, rewards,
usage, the newest attempts, snapshots. Counters are added up here, in the buckets that the daemon's jobs leave behind.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from banditd.core.ids import new_id
from banditd.core.types import Blend, Context, Decision
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps
from banditd.storage import migrate
from banditd.storage.checksum import RowChecksum
from banditd.storage.packed import COLUMNS
from banditd.storage.schema.record import rows_of
from banditd.storage.tag_places import VALUES
from bench.queries import texts
from bench.year_counters import ARMS, BASELINE, POLICY, TAGS, USD, Year, insert_rows, quoted, write_counters

YEAR_US: Final = 365 * 86_400 * 1_000_000
REWARDED_OF_TEN: Final = 3
ATTEMPTS: Final = 60_000  # of the newest decisions
SNAPSHOTS: Final = 3000
CHUNK: Final = 20_000
_COLUMNS: Final = COLUMNS
_checksum: Final = RowChecksum(_COLUMNS)
_PLACE: Final = {name: place for place, name in enumerate(_COLUMNS)}
Stored = tuple[object, ...]


def write_year(path: Path, decisions: int, progress: Callable[[str], None]) -> None:
    """A new database at ``path`` with that many decisions up to now."""
    migrate(f"sqlite:///{path}")
    encoder = load_static_encoder()
    builder = ContextBuilder(encoder_id=encoder.encoder_id, maps=load_feature_maps(SHIPPED_FOLDER))
    prompts = texts(256)
    contexts = [builder.build(text=text, embedding=encoder.encode_now(text)) for text in prompts]
    year = _year(decisions, contexts)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-200000")
        templates = _templates(contexts, prompts, builder.schema.hash)
        for start in range(0, decisions, CHUNK):
            connection.execute("BEGIN")
            _write_rows(connection, year, templates, start, min(start + CHUNK, decisions))
            connection.execute("COMMIT")
            if start // CHUNK % 10 == 9:
                progress(f"written: {start + CHUNK:,} of {decisions:,} decisions")
        connection.execute("BEGIN")
        write_counters(connection, year, builder.schema.hash)
        _write_snapshots(connection, year, builder.schema.hash)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _year(n: int, contexts: Sequence[Context]) -> Year:
    rng = np.random.default_rng(0)
    now_us = time.time_ns() // 1000
    kind = rng.integers(len(contexts), size=n)
    cluster = np.array([context.cluster for context in contexts])[kind]
    tags = {name: rng.integers(values, size=n) for name, values in TAGS.items()}
    tags["feature"] = cluster % VALUES  # one tag that tells clusters apart
    explored = (rng.random(n) < 0.1).astype(np.intp)
    return Year(
        at_us=now_us - YEAR_US + np.arange(1, n + 1, dtype=np.int64) * (YEAR_US // n),
        arm=rng.choice(len(ARMS), size=n, p=[0.1, 0.3, 0.2, 0.2, 0.2]),
        kind=kind,
        cluster=cluster,
        rewarded=(rng.integers(10, size=n) < REWARDED_OF_TEN).astype(np.intp),
        explored=explored,
        tags=tags,
    )


# ---------------------------------------------------------------- the log


def _templates(contexts: Sequence[Context], prompts: Sequence[str], schema_hash: str) -> list[list[Stored]]:
    """A row for every context and arm, in the order of the table's columns but for the checksum."""
    probability, fixed = np.array([0.1, 0.3, 0.2, 0.2, 0.2]), np.eye(len(ARMS))[BASELINE]
    return [
        rows_of(
            [
                Decision(
                    decision_id="", policy=POLICY, policy_kind="thompson", created_at_us=0, expires_at_us=0, arm=arm,
                    upstream_model=arm, propensity=float(probability[i]), uniform=0.5, explored=False,
                    reason="policy", degraded=None, arms=ARMS, probability=probability,
                    mean=np.array([0.5, 0.6, 0.65, 0.66, 0.8]), deviation=np.full(len(ARMS), 0.05), cost_usd=USD,
                    penalty=np.zeros(len(ARMS)), exclusions={}, context=context, schema_hash=schema_hash,
                    snapshot_version=1, epoch=0, cost_weight=0.0, input_tokens=60, input_hash="0" * 64,
                    input_text=prompt, session_id=None, tags={}, deferred=False, keep=0.95, baseline=ARMS[BASELINE],
                    promise={"state": "keeping"}, own_probability=probability, mixture=Blend(0.9, fixed),
                )
                for i, arm in enumerate(ARMS)
            ]
        )
        for context, prompt in zip(contexts, prompts, strict=True)
    ]  # fmt: skip


def _write_rows(
    connection: sqlite3.Connection, year: Year, templates: list[list[Stored]], start: int, stop: int
) -> None:
    ids = [new_id(int(at_us)) for at_us in year.at_us[start:stop].tolist()]
    marks = ",".join("?" * len(_COLUMNS))
    connection.executemany(
        f"INSERT INTO decision ({','.join(map(quoted, _COLUMNS))}) VALUES ({marks})",
        _decisions(year, templates, ids, start),
    )
    arms, at = year.arm[start:stop].tolist(), year.at_us[start:stop].tolist()
    rewarded = np.flatnonzero(year.rewarded[start:stop]).tolist()
    insert_rows(
        connection,
        "reward_event",
        "reward_id decision_id policy identity revision keyed kind status metric source value reward noise_variance "
        "late metadata body_hash received_at_us",
        (
            (f"r{ids[i]}", ids[i], POLICY, f"reward:{ids[i]}", 1, 0, "value", "recorded", "quality", "judge", 0.7,
             0.7, 0.0, 0, "{}", "", at[i] + 60_000_000)
            for i in rewarded
        ),
    )  # fmt: skip
    insert_rows(
        connection,
        "contribution",
        "decision_id policy arm epoch weight reward estimated estimated_by_design",
        ((ids[i], POLICY, ARMS[arms[i]], 0, 1.0, 0.7, 0, 1) for i in rewarded),
    )
    insert_rows(
        connection,
        "usage_report",
        "decision_id policy arm input_tokens output_tokens cost_usd latency_ms estimated body_hash received_at_us",
        (
            (ids[i], POLICY, ARMS[arm], 60, 200, float(USD[arm]), 800.0, 0, "", at[i] + 1_000_000)
            for i, arm in enumerate(arms)
        ),
    )
    first = max(0, year.at_us.size - ATTEMPTS - start)
    insert_rows(
        connection,
        "attempt",
        "decision_id ordinal policy arm latency_ms input_tokens output_tokens cost_usd first_token_ms",
        (
            (ids[i], 0, POLICY, ARMS[arms[i]], 800.0, 60, 200, float(USD[arms[i]]), 200.0)
            for i in range(first, len(ids))
        ),
    )


def _decisions(year: Year, templates: list[list[Stored]], ids: list[str], start: int) -> Iterator[tuple[object, ...]]:
    names, values = list(year.tags), [year.tags[name][start : start + len(ids)].tolist() for name in year.tags]
    part = slice(start, start + len(ids))
    facts = zip(
        ids, year.at_us[part].tolist(), year.arm[part].tolist(), year.kind[part].tolist(),
        year.explored[part].tolist(), zip(*values, strict=True), strict=True,
    )  # fmt: skip
    for index, (decision_id, at_us, arm, kind, explored, own) in enumerate(facts):
        row = list(templates[kind][arm])
        row[_PLACE["decision_id"]] = decision_id
        row[_PLACE["created_at_us"]] = at_us
        row[_PLACE["expires_at_us"]] = at_us + 86_400_000_000
        row[_PLACE["explored"]] = explored
        row[_PLACE["tags"]] = json.dumps(
            {name: f"{name}-{value}" for name, value in zip(names, own, strict=True)}, separators=(",", ":")
        )
        if index % 3 == 0:
            row[_PLACE["session_id"]] = f"session-{(start + index) // 30}"
        yield (*row, _checksum(row))


def _write_snapshots(connection: sqlite3.Connection, year: Year, schema_hash: str) -> None:
    values = json.dumps({"shared": {"form": 1.0, "meaning": 1.0}, "own": {"form": 1.0, "meaning": 1.0}})
    insert_rows(
        connection,
        "snapshot",
        "policy schema_hash version epoch hyperparameters learner folded created_at_us",
        (
            (POLICY, schema_hash, version + 1, 0, values, "{}", 100, int(at_us))
            for version, at_us in enumerate(np.linspace(year.at_us[0], year.at_us[-1], SNAPSHOTS).tolist())
        ),
    )
