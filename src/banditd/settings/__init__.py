"""The configuration: one tree of frozen models, read once at start.

Order of precedence: command line > environment ``BANDITD_SECTION__FIELD`` > YAML file > defaults. Unknown
keys, unknown ``BANDITD_*`` variables and missing files stop the start with a message that says what to change.
Services never see this module: ``daemon.open`` hands them plain values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from banditd.core.errors import ConfigurationError
from banditd.core.nearest import nearest_names
from banditd.settings.arms import ArmSettings, check_arms
from banditd.settings.base import PublicUrl, Section
from banditd.settings.classifier import ClassifierSettings, check_classifiers, check_tag
from banditd.settings.constraints import ConstraintSettings, check_constraints
from banditd.settings.database import DatabaseSettings, check_archive
from banditd.settings.drift import DriftSettings, check_drift
from banditd.settings.gateway import LOCAL_HOSTS, GatewaySettings, UpstreamSettings, check_upstreams
from banditd.settings.judges import JudgeSettings, check_judges
from banditd.settings.money import (
    BudgetSettings,
    ProfileSettings,
    ResourceSettings,
    check_budgets,
    check_shares,
    default_profiles,
)
from banditd.settings.promise import PromiseSettings, check_promise
from banditd.settings.rewards import RewardSettings
from banditd.settings.yaml_text import problem_line, read_mapping

ENVIRONMENT_PREFIX = "BANDITD_"
# Variables of ours that are not settings.
OTHER_VARIABLES = frozenset(
    {"BANDITD_CONFIG", "BANDITD_DATA", "BANDITD_API_KEY", "BANDITD_URL", "BANDITD_TEST_POSTGRES_URL"}
)
Scope = Literal["route", "reward", "reward:own", "read", "chat", "judge", "admin"]
ContextTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", max_length=128)]
HostName = Annotated[str, Field(pattern=r"^(\*|([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)$", max_length=260)]


class ApiKeySettings(Section):
    """One API key, as ``banditd keys create`` prints it."""

    name: str = Field(min_length=1, max_length=64, description="shown instead of the key in logs and metrics")
    sha256: SecretStr = Field(description="hex SHA-256 of the key")
    scopes: tuple[Scope, ...] = Field(min_length=1, description="what the key may do")


class ServerSettings(Section):
    """How the daemon listens."""

    host: str = Field("127.0.0.1", description="address to bind; other than localhost needs api_keys")
    port: int = Field(8484, ge=0, le=65535, description="TCP port; 0 lets the kernel choose")
    api_keys: tuple[ApiKeySettings, ...] = Field((), description="accepted keys; none: open (localhost only)")
    allow_unauthenticated: bool = Field(False, description="serve other machines without keys; set allowed_hosts")
    allowed_hosts: tuple[HostName, ...] = Field(
        (), max_length=64, description="host names served without keys besides localhost; '*': any"
    )
    public_url: PublicUrl | None = Field(None, description="the daemon's address in feedback links")
    max_body_bytes: int = Field(2_097_152, ge=1024, description="largest request body; 413 above it")
    max_input_chars: int = Field(1_000_000, ge=1, le=1_000_000, description="longest text to /v1/route; 422 above")
    max_batch: int = Field(256, ge=1, le=4096, description="most queries or rewards in a batch")
    max_page: int = Field(500, ge=1, le=10_000, description="most rows on a page")
    trace_as_task: bool = Field(False, description="traceparent's trace is the task where task_id is missing")
    rate_limit_per_s: float = Field(0.0, ge=0, description="requests per second of a key (or peer); 0: no limit")
    rate_limit_burst: int = Field(200, ge=1, description="requests at once under that limit")
    drain_s: float = Field(0.0, ge=0, description="how long to keep answering after SIGTERM, not ready")
    shutdown_timeout_s: float = Field(20.0, gt=0, description="longest wait for running requests after that")
    keepalive_s: float = Field(75.0, gt=0, description="idle time of a connection; above any proxy's")
    header_timeout_s: float = Field(10.0, gt=0, description="longest time for request headers to arrive")
    body_timeout_s: float = Field(30.0, gt=0, description="longest time for a body to arrive; then 408")
    write_timeout_s: float = Field(30.0, gt=0, description="longest time that a client may read nothing")


class EncoderSettings(Section):
    """How a query becomes a vector."""

    model: str = Field("static", description="static (shipped), or a sentence-transformers name or folder")
    feature_maps: Path | None = Field(
        None, description="made by 'banditd encoder build'; needed for any model but static"
    )
    threads: int = Field(2, ge=1, le=64, description="of a sentence-transformers model")
    queue_size: int = Field(64, ge=1, description="queries waiting for a thread; 503 above it")
    deadline_ms: float = Field(500.0, gt=0, description="longest wait for a vector; then the decision is degraded")


class PrivacySettings(Section):
    """What is stored of the queries."""

    store_input: bool = Field(False, description="store the text of queries")


class LoggingSettings(Section):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="lowest level logged")
    format: Literal["json", "text"] = Field("json", description="json lines, or text for people")
    access: bool = Field(False, description="log every request")


class LearnerSettings(Section):
    """The writer of the policies' state."""

    max_batch: int = Field(256, ge=1, le=10_000, description="most rewards folded in one transaction")
    pause_ms: float = Field(20.0, ge=0, description="pause between two batches")
    poll_s: float = Field(1.0, gt=0, description="interval of polling for rewards and snapshots")
    lease_s: float = Field(10.0, ge=1, description="a silent learner is replaced after this time")


class JobSettings(Section):
    """Background work: intervals, and how long things are kept."""

    default_rewards_s: float = Field(30.0, gt=0, description="of default rewards")
    usage_silence_s: float = Field(300.0, gt=0, description="between settlements of decisions without usage reports")
    rollup_s: float = Field(600.0, gt=0, description="of compacting statistics")
    retention_s: float = Field(3600.0, gt=0, description="of retention")
    refit_s: float = Field(900.0, gt=0, description="between refits of prior scales in slow traffic")
    integrity_s: float = Field(3600.0, gt=0, description="between integrity checks")
    integrity_sample: int = Field(200, ge=1, description="decisions checked each time")
    retention_days: float = Field(
        0.0, ge=0, description="older decisions are deleted; at least reward.window_s; 0: never"
    )
    archive_url: str | None = Field(None, description="where deleted ones go: file:///folder or s3://bucket/folder")
    idempotency_s: float = Field(86_400.0, ge=60, description="how long an Idempotency-Key is remembered")
    usage_window_s: float = Field(
        86_400.0, gt=0, description="a decision without usage is then settled at its estimate"
    )


class PolicySettingsSection(Section):
    """One independent policy: its arms, its objective, its learner."""

    kind: str = Field(
        "thompson",
        description="thompson, linucb, squarecb, epsilon_greedy, cluster_table, rules, fixed or uniform",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of that kind; see docs/learning.md")
    exploration_floor: float = Field(
        0.005, ge=0, le=0.5, description="share spread over all arms, less for dear ones"
    )
    half_life_decisions: float | None = Field(
        None, gt=0, description="evidence counts half after this many decisions; null: never"
    )
    prior_file: Path | None = Field(None, description="see docs/learning.md")
    prior_worth_rewards: float | None = Field(
        None, gt=0, description="rewards that the prior counts as; see docs/learning.md"
    )
    tier_table: str | None = Field(
        None, min_length=1, description="quality by models' names: a YAML file, or shipped"
    )
    change_detection: bool = Field(True, description="discount an arm's evidence when its rewards change")
    cost_weight: float = Field(0.0, ge=0, description="utility lost at the dearest arm's expected cost")
    promise: PromiseSettings | None = Field(
        None, description="keep a share of a baseline's quality at the least cost; null: none; see docs/promise.md"
    )
    drift: DriftSettings = Field(default_factory=DriftSettings, description="slow loss of quality; docs/drift.md")
    rollout: float = Field(1.0, ge=0, le=1, description="share the policy decides; the baseline answers the rest")
    mode: Literal["route", "shadow"] = Field("route", description="shadow: decides and logs, the baseline answers")
    budget_usd_per_decision: float | None = Field(None, gt=0, description="shorthand for a budget per decision")
    prices_file: Path | None = Field(None, description="YAML of arms and prices, watched; see docs/money.md")
    budgets: tuple[BudgetSettings, ...] = Field((), max_length=16, description="see docs/money.md")
    profiles: dict[str, ProfileSettings] = Field(
        default_factory=default_profiles, max_length=64, description="objectives that requests may ask for"
    )
    resources: ResourceSettings = Field(
        default_factory=ResourceSettings, description="what energy and carbon are worth beside the price list"
    )
    session_sticky: bool = Field(True, description="a session_id keeps its arm")
    caller_features: tuple[str, ...] = Field(
        (), max_length=32, description="numeric features that clients send, best within [-1, 1]"
    )
    context_tags: tuple[ContextTag, ...] = Field(
        (), max_length=4, description="tags that are features; see docs/learning.md"
    )
    classifier: ClassifierSettings | None = Field(
        None, description="a model that gives queries one of the context_tags; null: none; see docs/constraints.md"
    )
    constraints: tuple[ConstraintSettings, ...] = Field((), max_length=64, description="see docs/constraints.md")
    breaker_errors: int = Field(5, ge=0, description="errors in a row that exclude an arm; 0: never")
    breaker_s: float = Field(30.0, gt=0, description="how long, until one decision tries it")
    reward: RewardSettings = Field(default_factory=RewardSettings, description="the life of a reward")
    arms: tuple[ArmSettings, ...] = Field((), description="created at the first start that sees them")

    @model_validator(mode="after")
    def _consistent(self) -> PolicySettingsSection:
        if self.prior_worth_rewards is not None and self.prior_file is None:
            raise ValueError("prior_worth_rewards needs prior_file: give both, or neither")
        if self.context_tags and self.prior_file is not None:
            raise ValueError(
                "context_tags and prior_file cannot be combined: a prior file has no columns for this daemon's tags"
            )
        if len(set(self.context_tags)) != len(self.context_tags):
            raise ValueError("context_tags names a tag twice")
        check_arms(self.arms)
        check_shares(self.arms)
        check_constraints(self.constraints, self.arms)
        check_tag(self.classifier, self.context_tags, self.caller_features)
        check_budgets(self.all_budgets(), self.arms)
        check_promise(
            self.promise, kind=self.kind, cost_weight=self.cost_weight, arms=self.arms, profiles=self.profiles
        )
        return self

    def all_budgets(self) -> tuple[BudgetSettings, ...]:
        """The budgets, the short one among them under the name ``decision``."""
        if self.budget_usd_per_decision is None:
            return self.budgets
        return (BudgetSettings(name="decision", usd=self.budget_usd_per_decision), *self.budgets)


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
    )

    server: ServerSettings = Field(default_factory=ServerSettings, description="HTTP")
    database: DatabaseSettings = Field(default_factory=DatabaseSettings, description="log and state")
    encoder: EncoderSettings = Field(default_factory=EncoderSettings, description="query to vector")
    privacy: PrivacySettings = Field(default_factory=PrivacySettings, description="what is kept")
    logging: LoggingSettings = Field(default_factory=LoggingSettings, description="logs")
    learner: LearnerSettings = Field(default_factory=LearnerSettings, description="the single writer")
    jobs: JobSettings = Field(default_factory=JobSettings, description="background work")
    upstreams: dict[str, UpstreamSettings] = Field(
        default_factory=dict, description="endpoints that models stand behind, by name; arms name one"
    )
    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="calls arms itself")
    judges: dict[str, JudgeSettings] = Field(
        default_factory=dict, description="who scores a share of the gateway's answers, by name; see docs/judges.md"
    )
    policies: dict[str, PolicySettingsSection] = Field(
        default_factory=lambda: {"default": PolicySettingsSection()}, description="policies by name"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment beats the keyword arguments, which carry the YAML file."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _validated(self) -> Settings:
        check_safe(self)
        check_retention(self)
        check_upstreams(self.upstreams, self.gateway, {name: p.arms for name, p in self.policies.items()})
        check_judges(self.judges, self.upstreams, self.gateway, {n: p.reward for n, p in self.policies.items()})
        check_classifiers({n: p.classifier for n, p in self.policies.items()}, self.upstreams, self.gateway)
        check_drift({name: policy.drift for name, policy in self.policies.items()}, self.judges)
        return self


def check_safe(settings: Settings) -> None:
    """Refuse a configuration that opens the daemon to strangers, or has no default policy. Raises ValueError."""
    if "default" not in settings.policies:
        raise ValueError("policies needs one named 'default'")
    server = settings.server
    if server.host not in LOCAL_HOSTS and not server.api_keys and not server.allow_unauthenticated:
        raise ValueError(
            f"server.host is {server.host}: an address that others reach needs server.api_keys "
            "(make one with 'banditd keys create'), or server.allow_unauthenticated: true"
        )


def check_retention(settings: Settings) -> None:
    """Refuse to delete decisions whose rewards, the default among them, are still to come. Raises ValueError."""
    check_archive(settings.jobs.archive_url, settings.jobs.retention_days)
    kept_s = settings.jobs.retention_days * 86_400
    for name, policy in settings.policies.items():
        window_s = policy.reward.window_s
        if 0 < kept_s < window_s:
            raise ValueError(
                f"jobs.retention_days is {settings.jobs.retention_days:g}, and policies.{name}.reward.window_s takes "
                f"rewards for {window_s / 86_400:g} days: their decisions would be gone; keep decisions at least as "
                "long, or shorten the window"
            )


def load_settings(
    path: Path | None = None,
    *,
    database_url: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the configuration.

    Parameters
    ----------
    path : YAML file, or None for defaults and environment only.
    database_url : in place of the file's; the environment and the command line win over it.
    overrides : dotted names from the command line, such as ``{"server.port": 9000}``; they win over all.
    environ : for the check of unknown variables; default ``os.environ``.

    Raises
    ------
    ConfigurationError : with every problem, its place and the mend.
    """
    check_environment(os.environ if environ is None else environ)
    content = read_mapping(path) if path is not None else {}
    if database_url is not None:
        content = {**content, "database": {**(content.get("database") or {}), "url": database_url}}
    try:
        settings = Settings(**content)
        for dotted, value in (overrides or {}).items():
            if value is not None:
                settings = _override(settings, dotted, value)
    except ValidationError as error:
        where = f" in {path}" if path is not None else ""
        lines = [problem_line(detail, Settings) for detail in error.errors()]
        raise ConfigurationError(f"the configuration{where} is not valid:\n" + "\n".join(lines)) from error
    except ValueError as error:
        raise ConfigurationError(f"the configuration is not valid: {error}") from error
    return settings


def check_environment(environ: Mapping[str, str]) -> None:
    """Refuse a ``BANDITD_*`` variable that names no setting: it is a typing mistake, and silence would hide it."""
    sections = list(Settings.model_fields)
    for name in environ:
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        section = name[len(ENVIRONMENT_PREFIX) :].split("__")[0].lower()
        if section not in sections:
            known = [ENVIRONMENT_PREFIX + s.upper() for s in sections] + sorted(OTHER_VARIABLES)
            near = nearest_names(name, known)
            hint = f"; did you mean {near[0]}?" if near else f"; sections are {', '.join(sections)}"
            raise ConfigurationError(f"unknown environment variable {name}{hint} (form: BANDITD_SECTION__FIELD)")


def _override(settings: Settings, dotted: str, value: Any) -> Settings:
    section_name, field = dotted.split(".", 1)
    section: Section = getattr(settings, section_name)
    changed = type(section).model_validate({**dict(section), field: value})
    data = {name: getattr(settings, name) for name in Settings.model_fields} | {section_name: changed}
    changed_settings = Settings.model_construct(**data)
    check_safe(changed_settings)
    check_retention(changed_settings)
    return changed_settings
