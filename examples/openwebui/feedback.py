"""An Event function for Open WebUI (0.10 or newer): every thumb there becomes a reward here.

Admin Panel, Functions, +: paste this file, set its valves, enable it. The connection must send Open WebUI's message
id as x-banditd-reference (docs/recipes.md). A thumb that is changed corrects the reward. Failures are logged.
"""

import asyncio
import json
import logging
import urllib.error
import urllib.request
from typing import Any

from pydantic import BaseModel

logger = logging.getLogger("banditd_feedback")


class Event:
    class Valves(BaseModel):
        banditd_url: str = "http://127.0.0.1:8484"
        banditd_key: str = ""  # a key with the scope reward: the one that the connection uses

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def event(self, event: dict[str, Any], __event_name__: str | None = None, **_: Any) -> None:
        if not (__event_name__ or "").startswith("feedback."):
            return
        rating, message_id = find(event, "rating"), find(event, "message_id")
        if message_id is None or rating not in (1, -1, "1", "-1"):
            logger.info("%s without a thumb or a message: nothing to reward", __event_name__)
            return
        reward = {"reference": message_id, "thumb": "up" if int(rating) > 0 else "down", "source": "human"}
        await asyncio.to_thread(self.send, reward)

    def send(self, reward: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        if self.valves.banditd_key:
            headers["Authorization"] = f"Bearer {self.valves.banditd_key}"
        url = f"{self.valves.banditd_url.rstrip('/')}/v1/rewards"
        request = urllib.request.Request(url, json.dumps(reward).encode(), headers)
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as error:
            logger.warning("the thumb was refused: %s %s", error.code, error.read()[:300])
        except OSError as error:
            logger.warning("banditd could not be reached: %s", error)


def find(value: Any, name: str) -> Any:
    """The first value of that name at any depth."""
    if isinstance(value, dict):
        if value.get(name) is not None:
            return value[name]
        value = list(value.values())
    if isinstance(value, list):
        return next((found for one in value if (found := find(one, name)) is not None), None)
    return None
