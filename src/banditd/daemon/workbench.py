"""What the daemon and the commands that work on its database stand on: encoder, database, policies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from banditd.daemon.names import database_url, holder_name, writer_name
from banditd.daemon.runtimes import make_runtimes, name_templates
from banditd.encoders.factory import open_encoder
from banditd.obs.tracing import Tracing
from banditd.ports import Encoder, LearningStore, Secrets
from banditd.services.constraints import embedded
from banditd.services.learning.context_values import ContextValues
from banditd.services.learning.inheriting import InheritingStore
from banditd.services.policy import PolicyRuntime
from banditd.services.template_names import TemplateNames
from banditd.settings import Settings
from banditd.storage import Deadlines, Storage, load_secrets, migrate, open_storage

PATIENT: Final = Deadlines(transaction_s=3600.0, lock_s=60.0, silence_s=60.0, report_s=3600.0)


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """The encoder, the database and the policies' runtimes, without serving or learning."""

    encoder: Encoder
    storage: Storage
    learning: LearningStore
    context_values: ContextValues
    runtimes: Mapping[str, PolicyRuntime]
    clock: SystemClock
    holder: str
    secrets: Secrets
    tracing: Tracing | None = None


@asynccontextmanager
async def open_workbench(settings: Settings, *, deadlines: Deadlines = PATIENT) -> AsyncIterator[Workbench]:
    """Open the encoder, the migrated database and the policies' settings, without serving or learning.

    Commands refold or copy a whole log in one transaction and nobody waits for them: by default they are patient.
    """
    async with AsyncExitStack() as stack:
        section = settings.encoder
        encoder = await open_encoder(
            model=section.model,
            threads=section.threads,
            queue_size=section.queue_size,
            deadline_s=section.deadline_ms / 1e3,
        )
        stack.push_async_callback(encoder.close)
        runtimes = make_runtimes(settings, encoder)
        for runtime in runtimes.values():
            runtime.constraints = await embedded(runtime.constraints, encoder)
        url = database_url(settings)
        await asyncio.to_thread(migrate, url)
        storage = await stack.enter_async_context(
            open_storage(
                url,
                writer_name=writer_name(settings),
                deadlines=deadlines,
                readers=settings.database.readers,
                archive_url=settings.jobs.archive_url,
            )
        )
        clock = SystemClock()
        context_values = ContextValues(runtimes=runtimes, store=storage.context_values)
        await context_values.keep()
        secrets = await load_secrets(storage.database, clock.now_us())
        name_templates(runtimes, TemplateNames(secrets))
        yield Workbench(
            encoder=encoder,
            storage=storage,
            learning=InheritingStore(storage.learning, {name: r.builder.schema for name, r in runtimes.items()}),
            context_values=context_values,
            runtimes=runtimes,
            clock=clock,
            holder=holder_name(),
            secrets=secrets,
        )
