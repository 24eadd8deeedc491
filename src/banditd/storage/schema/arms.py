"""Arms, their prices, the accounts of budgets, and the small states."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from banditd.storage.schema.columns import metadata, text_column, text_columns, time_column

policy: Final = Table(
    "policy",
    metadata,
    text_column("policy", primary_key=True),
    Column("arms_version", BigInteger, nullable=False),
    time_column("created_at_us"),
)

arm: Final = Table(
    "arm",
    metadata,
    Column("policy", Text, ForeignKey("policy.policy"), primary_key=True, nullable=False),
    text_column("arm", primary_key=True),
    Column("position", Integer, nullable=False),
    *text_columns("upstream_model", "provider"),
    Column("usd_per_mtok_in", Double, nullable=False),
    Column("usd_per_mtok_out", Double, nullable=False),
    Column("usd_per_request", Double, nullable=False),
    Column("enabled", Boolean, nullable=False),
    text_column("capabilities"),
    Column("context_window_tokens", BigInteger),
    Column("quality_prior", Double),
    Column("prior_worth", Double, nullable=False),
    Column("quality_tier", Text),
    Column("expected_output_tokens", Double, nullable=False),
    Column("expected_latency_ms", Double),
    Column("max_share", Double, nullable=False),
    Column("onboarding_decisions", BigInteger, nullable=False),
    Column("onboarding_usd", Double, nullable=False),
    time_column("created_at_us"),
    time_column("updated_at_us"),
    time_column("deleted_at_us", nullable=True),
    Column("usd_per_mtok_cached_in", Double),
    Column("min_share", Double, nullable=False, server_default=text("0")),
    Column("kwh_per_mtok_in", Double, nullable=False, server_default=text("0")),
    Column("kwh_per_mtok_out", Double, nullable=False, server_default=text("0")),
    Column("generation", Integer, nullable=False, server_default=text("1")),
    text_column("upstream", nullable=True),
    Column("params", Text, nullable=False, server_default=text("'{}'")),
    Column("rename_params", Text, nullable=False, server_default=text("'{}'")),
    Column("first_token_s", Double),
    # JSON of what the arm is made of; null: it is a model.
    text_column("recipe", nullable=True),
)

arm_price: Final = Table(
    "arm_price",
    metadata,
    *text_columns("policy", "arm", primary_key=True),
    time_column("valid_from_us", primary_key=True, autoincrement=False),
    Column("usd_per_mtok_in", Double, nullable=False),
    Column("usd_per_mtok_out", Double, nullable=False),
    Column("usd_per_request", Double, nullable=False),
    Column("usd_per_mtok_cached_in", Double),
)

# How often the members of a recipe's stage were asked, and how often they left the query open; what recipes cost
# follows from it.
settling: Final = Table(
    "settling",
    metadata,
    *text_columns("policy", "kind", "members", "writer", primary_key=True),
    Column("reached", BigInteger, nullable=False),
    Column("unsettled", BigInteger, nullable=False),
)

lease: Final = Table(
    "lease", metadata, text_column("name", primary_key=True), text_column("holder"), time_column("expires_at_us")
)

job_run: Final = Table(
    "job_run",
    metadata,
    text_column("job", primary_key=True),
    time_column("started_at_us", nullable=True),
    time_column("finished_at_us", nullable=True),
    Column("duration_s", Double),
    text_column("error", nullable=True),
    Column("runs", BigInteger, nullable=False, server_default=text("0")),
    Column("failures", BigInteger, nullable=False, server_default=text("0")),
    Column("cursor", BigInteger, nullable=False, server_default=text("0")),
)

budget_state: Final = Table(
    "budget_state",
    metadata,
    text_column("policy", primary_key=True),
    text_column("state"),
    time_column("updated_at_us"),
)

# What was switched over HTTP and differs from the configuration: promise, rollout, mode.
policy_switch: Final = Table(
    "policy_switch",
    metadata,
    text_column("policy", primary_key=True),
    text_column("changes"),
    time_column("updated_at_us"),
)

budget_account: Final = Table(
    "budget_account",
    metadata,
    *text_columns("policy", "budget", "account", primary_key=True),
    time_column("window_at_us", primary_key=True, autoincrement=False),
    Column("decisions", BigInteger, nullable=False),
    Column("charged_usd", Double, nullable=False),
    Column("owed_usd", Double, nullable=False),
    time_column("opened_at_us"),
    time_column("updated_at_us"),
)

# One row; what the keys of ``ports.Secrets`` are derived from. No reader but storage/secrets.py.
secret: Final = Table(
    "secret",
    metadata,
    text_column("name", primary_key=True),
    Column("value", LargeBinary, nullable=False),
    time_column("created_at_us"),
)

# What an operator has put on an account or taken off it by hand.
budget_correction: Final = Table(
    "budget_correction",
    metadata,
    *text_columns("policy", "correction_id", primary_key=True),
    *text_columns("budget", "account"),
    time_column("window_at_us"),
    Column("usd", Double, nullable=False),
    text_column("reason"),
    text_column("key_name", nullable=True),
    time_column("created_at_us"),
    Index(None, "policy", "budget", "created_at_us"),
)
