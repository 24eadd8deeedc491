"""What is there to be an arm: providers whose key is in the environment, and servers of models on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp

from banditd.setup.known_models import KnownModel, KnownModels

LOCAL_SERVERS: Final[Mapping[str, str]] = {
    "ollama": "http://127.0.0.1:11434/v1",
    "vllm": "http://127.0.0.1:8000/v1",
    "litellm": "http://127.0.0.1:4000/v1",
}
"""Where they listen unless somebody has changed it."""
_LOOK_S: Final = 2.0
_MAX_LOCAL_MODELS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One upstream that could be configured.

    models : the names that may be arms. known : what the table knows of them. proposed : those taken unless others
    are named. api_key_env : the variable that holds its key; None: it needs none.
    """

    name: str
    kind: str
    base_url: str
    api_key_env: str | None
    models: tuple[str, ...]
    known: Mapping[str, KnownModel]
    proposed: tuple[str, ...]
    rename_params: Mapping[str, str]


def find_providers(table: KnownModels, environ: Mapping[str, str], base_urls: Mapping[str, str]) -> list[Found]:
    """Providers whose key is set. ``base_urls``: where another address than the provider's own serves its models."""
    found = []
    for name, provider in table.providers.items():
        if not environ.get(provider.api_key_env, "").strip():
            continue
        models = table.of(name)
        found.append(
            Found(
                name=name,
                kind=provider.kind,
                base_url=base_urls.get(name, provider.base_url),
                api_key_env=provider.api_key_env,
                models=tuple(model.model for model in models),
                known={model.model: model for model in models},
                proposed=tuple(model.model for model in models if model.proposed),
                rename_params=provider.rename_params,
            )
        )
    return found


def key_variable(server: str) -> str:
    """The variable that holds a server's key where it wants one: ``GPU_API_KEY`` of ``gpu``."""
    return "".join(c if c.isalnum() else "_" for c in server.upper()) + "_API_KEY"


async def find_servers(
    table: KnownModels, environ: Mapping[str, str], urls: Mapping[str, str]
) -> tuple[list[Found], dict[str, str]]:
    """Servers at ``urls`` (name to base URL) that list their models, and why others do not (name to reason)."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_LOOK_S), trust_env=False) as session:
        looks = (_look(session, url, environ.get(key_variable(name), "").strip()) for name, url in urls.items())
        listed = dict(zip(urls, await asyncio.gather(*looks), strict=True))
    found, reasons = [], {}
    for name, models in listed.items():
        if isinstance(models, str):
            reasons[name] = models
        else:
            found.append(_server(table, environ, name, urls[name], models))
    return found, reasons


async def _look(session: aiohttp.ClientSession, url: str, key: str) -> list[str] | str:
    """The models, or why there are none."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async with session.get(f"{url.rstrip('/')}/models", headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                return f"it answers {answer.status}"
            content = await answer.json(content_type=None)
    except ValueError as error:
        return "it answers no JSON" if isinstance(error, UnicodeError | json.JSONDecodeError) else f"no URL: {error}"
    except aiohttp.NonHttpUrlClientError:
        return "no URL: it begins with http:// or https://"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"no answer ({type(error).__name__})"
    rows = content.get("data") if isinstance(content, dict) else None
    names = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    models = [model for model in names if isinstance(model, str) and model and "embed" not in model.lower()]
    return models or "it lists no models"


def _server(table: KnownModels, environ: Mapping[str, str], name: str, url: str, models: Iterable[str]) -> Found:
    names, key = tuple(dict.fromkeys(models)), key_variable(name)
    return Found(
        name=name,
        kind="openai",
        base_url=url,
        api_key_env=key if environ.get(key, "").strip() else None,
        models=names,
        known={model: fact for model in names if (fact := table.named(model)) is not None},
        proposed=names[:_MAX_LOCAL_MODELS],
        rename_params={},
    )
