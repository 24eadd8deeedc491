"""Where the log and the state are stored, and how long to wait for them."""

from __future__ import annotations

from typing import Final

from pydantic import Field, SecretStr, model_validator

from banditd.settings.base import Section

_NO_ARCHIVES: Final = frozenset({"memory", "zip", "tar", "libarchive", "data", "http", "https", "git", "github"})


class DatabaseSettings(Section):
    """The log and the state."""

    url: SecretStr = Field(
        SecretStr("sqlite:///var/banditd.db"),
        description="sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host/name",
    )
    readers: int = Field(2, ge=1, le=32, description="threads for reads; reports get as many more")
    transaction_s: float = Field(10.0, ge=1, le=600, description="longest wait for and in a transaction; then 503")
    lock_s: float = Field(5.0, ge=0.1, le=600, description="longest wait for another process's lock; then 503")
    silence_s: float = Field(
        3.0,
        ge=0.5,
        le=600,
        description="PostgreSQL ends a silent replica's transaction after this",
    )
    report_s: float = Field(60.0, ge=1, le=3600, description="longest wait for a report or a page of the log")

    @model_validator(mode="after")
    def _ordered(self) -> DatabaseSettings:
        if not self.silence_s <= self.lock_s <= self.transaction_s:
            raise ValueError(
                f"silence_s is {self.silence_s:g}, lock_s {self.lock_s:g}, transaction_s {self.transaction_s:g}: "
                "none may be below the one before, so that waiting for a frozen replica's lock outlasts its silence"
            )
        return self


def check_archive(url: str | None, retention_days: float) -> None:
    """Refuse an archive that would never be written, or not where it was meant to be. Raises ValueError."""
    if url is None:
        return
    kind, there, place = url.partition("://")
    if not there:
        raise ValueError(f"jobs.archive_url is {url}: give the scheme too, such as file:///{url.lstrip('/')}")
    host = place.partition("/")[0]
    if "@" in host:
        raise ValueError(
            "jobs.archive_url contains a password: give it to the store's library, in its variables or file"
        )
    if kind in {"file", "local"} and not place.startswith("/"):
        raise ValueError(f"jobs.archive_url is {url}: give the full path, such as file:///var/lib/banditd/{place}")
    if kind not in {"file", "local"} and not host:
        raise ValueError(f"jobs.archive_url is {url}: which bucket or host? {kind}://NAME/folder")
    if kind in _NO_ARCHIVES:
        raise ValueError(f"jobs.archive_url is {url}: what is written there does not last; use file:// or s3://")
    if not retention_days:
        raise ValueError("jobs.archive_url archives what is older than jobs.retention_days, which is 0: set it too")
