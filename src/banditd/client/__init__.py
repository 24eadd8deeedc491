"""The Python client of the daemon: ask which model should answer, say how it went.

``Client`` blocks (standard library only below it), ``AsyncClient`` is for asyncio (aiohttp); both have the same
methods. ``DaemonClient`` is the plain transport under the latter: paths and bodies in, parsed JSON out.
Described with examples in ``docs/client.md``.
"""

from banditd.client.answers import ArmView, Decision, RewardReceipt, TaskReceipt, UsageReceipt
from banditd.client.asynchronous import AsyncClient
from banditd.client.blocking import Client
from banditd.client.daemon import DaemonClient
from banditd.client.errors import (
    AccessRefusedError,
    BadRequestError,
    BudgetUsedUpError,
    NoArmError,
    NotFiniteError,
    RefusedError,
    TooManyRequestsError,
    TroubleError,
    UnknownThingError,
    WindowClosedError,
    WriteConflictError,
)
from banditd.client.retries import NO_RETRIES, Retries
from banditd.client.turn import Turn
from banditd.core.errors import BanditdError, UnavailableError

__all__ = [
    "NO_RETRIES",
    "AccessRefusedError",
    "ArmView",
    "AsyncClient",
    "BadRequestError",
    "BanditdError",
    "BudgetUsedUpError",
    "Client",
    "DaemonClient",
    "Decision",
    "NoArmError",
    "NotFiniteError",
    "RefusedError",
    "Retries",
    "RewardReceipt",
    "TaskReceipt",
    "TooManyRequestsError",
    "TroubleError",
    "Turn",
    "UnavailableError",
    "UnknownThingError",
    "UsageReceipt",
    "WindowClosedError",
    "WriteConflictError",
]
