"""The configuration that the daemons under attack run with: several policies, every kind of budget, quick jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

API_KEYS = {"first": "chaos-key-of-the-first-application", "second": "chaos-key-of-the-second-application"}
TEAMS = ("red", "green", "blue")
# Dollars per million output tokens.
ARMS = {"small": 0.4, "middle": 3.0, "large": 15.0}
LEASE_S = 2.0
# Decisions cost some $0.0001 (small) to $0.005 (large).
POLICIES: dict[str, dict[str, Any]] = {
    "default": {
        "budgets": [
            {"name": "month", "usd": 1000.0, "per": "month", "at_stop": "cheapest"},
            {"name": "team", "usd": 50.0, "per": "day", "of": "tag:team", "at_stop": "reject"},
            {"name": "mean", "usd": 0.002},
        ]
    },
    "tight": {
        "budgets": [
            {"name": "day", "usd": 0.05, "per": "day", "at_stop": "reject"},
            {"name": "key", "usd": 0.04, "per": "day", "of": "key", "at_stop": "reject"},
            {"name": "team-mean", "usd": 0.001, "of": "tag:team"},
        ]
    },
    "late": {
        "kind": "linucb",
        "reward": {"window_s": 3.0, "default_reward": 0.2},
        "budgets": [{"name": "key-day", "usd": 0.1, "per": "day", "of": "key", "at_stop": "small"}],
    },
}


def limits() -> dict[tuple[str, str], tuple[float, str]]:
    """(policy, budget) -> (dollars per window, what happens at the stop), of the budgets with windows."""
    return {
        (policy, budget["name"]): (budget["usd"], budget["at_stop"])
        for policy, settings in POLICIES.items()
        for budget in settings["budgets"]
        if "per" in budget
    }


def write_config(path: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """The configuration as a file; ``overrides`` by section."""
    arms = [
        {
            "arm": arm,
            "price": {"usd_per_mtok_in": usd / 4.0, "usd_per_mtok_out": usd},
            "expected_output_tokens": 300,
        }
        for arm, usd in ARMS.items()
    ]
    content: dict[str, Any] = {
        "server": {
            "api_keys": [
                {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["admin"]}
                for name, key in API_KEYS.items()
            ]
        },
        "learner": {"lease_s": LEASE_S, "poll_s": 0.2},
        # A clock that is ahead by a day must not forget the keys of requests that are still repeated.
        "jobs": {"default_rewards_s": 1.0, "usage_silence_s": 2.0, "idempotency_s": 604_800},
        "logging": {"level": "WARNING", "access": False},
        "policies": {name: {**settings, "arms": arms} for name, settings in POLICIES.items()},
    }
    for section, values in (overrides or {}).items():
        content[section] = {**content.get(section, {}), **values}
    path.write_text(yaml.safe_dump(content))
    return path
