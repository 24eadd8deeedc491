"""A file of prices that is watched: whoever keeps price lists writes it, and the arms follow. Floor 6.

A content is applied once, also over restarts and replicas, so that prices patched over HTTP afterwards stand until
the file changes again. A file that cannot be read changes nothing; one that the database could not take is tried
again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from banditd.core.errors import BanditdError, ConfigurationError, StorageUnavailableError
from banditd.core.types import Price
from banditd.ports import Clock, JobStore
from banditd.services.arms import ArmService
from banditd.settings.arms import PriceSettings
from banditd.settings.yaml_text import problem_line, read_yaml

logger = logging.getLogger(__name__)


class FilePrice(PriceSettings):
    """A price of the file; without ``valid_from`` it holds from the moment it is read."""

    valid_from: AwareDatetime | None = None


_FILE = TypeAdapter(dict[str, FilePrice])


def parse_prices(content: bytes, path: Path) -> dict[str, tuple[Price, int | None]]:
    """Arm to its price, and when that begins in microseconds since the epoch (None: now).

    Raises
    ------
    ConfigurationError : it is no mapping of arms to prices; says where.
    """
    try:
        read = _FILE.validate_python(read_yaml(content) or {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the price file {path} is no YAML: {error}") from error
    except ValidationError as error:
        lines = (problem_line(detail, FilePrice).strip() for detail in error.errors())
        raise ConfigurationError(f"the price file {path} is not valid: {'; '.join(lines)}") from error
    return {arm: (_price(price), _microseconds(price.valid_from)) for arm, price in read.items()}


class PriceFileWatcher:
    """Applies the price files of the policies when their content changes; ``look`` is one run of a job."""

    def __init__(self, files: Mapping[str, Path], *, arms: ArmService, jobs: JobStore, clock: Clock) -> None:
        self._files = dict(files)
        self._arms = arms
        self._jobs = jobs
        self._clock = clock
        self._seen: dict[str, bytes] = {}

    async def look(self) -> None:
        """Give due prices to the arms, then read the files that have changed."""
        await self._arms.adopt_due_prices()
        for policy, path in self._files.items():
            try:
                await self._read(policy, path)
            except OSError as error:
                self._complain(policy, path, str(error))

    async def _read(self, policy: str, path: Path) -> None:
        content = await asyncio.to_thread(path.read_bytes)
        if self._seen.get(policy) == content:
            return
        cursor = f"prices:{policy}"
        mark = int.from_bytes(hashlib.sha256(content).digest()[:7])
        if await self._jobs.cursor(cursor) != mark:
            try:
                prices = parse_prices(content, path)
            except ConfigurationError as error:
                self._complain(policy, path, error.message)
            else:
                for arm, (price, from_us) in prices.items():
                    await self._apply(policy, path, arm, price, from_us)
                await self._jobs.set_cursor(cursor, mark)
        self._seen[policy] = content

    async def _apply(self, policy: str, path: Path, arm: str, price: Price, from_us: int | None) -> None:
        later = from_us if from_us is not None and from_us > self._clock.now_us() else None
        try:
            if later is None and (await self._arms.get(policy, arm)).arm.price == price:
                return
            await self._arms.patch(policy, arm, {"price": price}, price_from_us=later)
        except StorageUnavailableError:
            raise  # the content does not count as applied: the next look tries again
        except BanditdError as error:
            self._complain(policy, path, f"{arm}: {error.message}")
        else:
            logger.info("arm.price_from_file", extra={"policy": policy, "arm": arm, "file": str(path)})

    def _complain(self, policy: str, path: Path, error: str) -> None:
        logger.warning("policy.price_file_failed", extra={"policy": policy, "file": str(path), "error": error})


def _price(read: FilePrice) -> Price:
    return Price(**read.model_dump(exclude={"valid_from"}))


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.astimezone(UTC).timestamp() * 1e6)
