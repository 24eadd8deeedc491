"""docs/http.md is complete and its examples work."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from tests.over_http import client_of

from banditd.settings import Settings
from banditd.web.problems import KINDS
from banditd.web.routes import ROUTES
from banditd.web.schemas.rewards import RewardRequest, UsageRequest
from banditd.web.schemas.routing import RouteRequest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
GATEWAY_PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
GATEWAY = (ROOT / "src/banditd/web/gateway", ROOT / "src/banditd/web/handlers/chat.py")
ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]


def test_every_path_is_documented() -> None:
    for route in ROUTES:
        if route.path not in {"/", "/problems/{slug}"}:
            assert route.path.replace("{id}/usage", "{decision_id}/usage") in PAGE + GATEWAY_PAGE, route.path


def test_every_field_of_a_query_reward_and_report_is_documented() -> None:
    later = {"cost_usd"}  # named with its unit wherever money stands
    for model in (RouteRequest, RewardRequest, UsageRequest):
        for field in model.model_fields:
            assert field in later or f"`{field}" in PAGE or f'"{field}"' in PAGE, field


def codes_in_the_source(*, gateway: bool) -> set[str]:
    """Every literal that is given as ``code=`` or ``default_code`` in the package's serving parts, or the gateway."""
    found: set[str] = set()
    folders = ("core", "services", "storage", "features", "encoders", "web")
    for path in (path for folder in folders for path in (ROOT / "src/banditd" / folder).rglob("*.py")):
        if any(path.is_relative_to(part) for part in GATEWAY) is not gateway:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value: ast.expr | None = None
            named_code = isinstance(node, ast.keyword) and node.arg == "code"
            if named_code or (isinstance(node, ast.Assign) and "default_code" in ast.unparse(node.targets[0])):
                value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.add(value.value)
    return found


def test_every_kind_and_every_code_is_in_the_table() -> None:
    table = PAGE[PAGE.index("## Problems") :]
    for kind in KINDS.values():
        assert f"* `{kind.slug}` ({kind.status}): " in table
    bases = {"ERROR", "NOT_FOUND", "CONFLICT"}  # never raised bare
    bugs = {"INVARIANT", "CONFIGURATION"}  # answered as INTERNAL_ERROR
    degraded = {"ENCODER_FAILED", "ENCODER_TIMEOUT"}  # routed all the same; they stand in ``degraded``
    assert all(f"`{code.lower()}`" in PAGE for code in degraded)
    missing = {
        code for code in codes_in_the_source(gateway=False) - bases - bugs - degraded if f"`{code}`" not in table
    }
    assert not missing
    told = {code.lower() for code in codes_in_the_source(gateway=True)}
    assert not {code for code in told if f"`{code}`" not in GATEWAY_PAGE and f"`{code.upper()}`" not in table}


def examples() -> list[tuple[str, str, dict[str, str], str]]:
    """(method, path, headers, body) of every block marked ``http``."""
    found = []
    for block in re.findall(r"```http\n(.*?)```", PAGE, re.DOTALL):
        first, *rest = block.strip().split("\n")
        method, path = first.split(" ")
        headers = dict(line.split(": ", 1) for line in rest if re.match(r"[A-Za-z-]+: ", line))
        body = "\n".join(line for line in rest if not re.match(r"[A-Za-z-]+: ", line))
        found.append((method, path, headers, body))
    return found


async def test_the_examples_work_in_order(sqlite_url: str) -> None:
    settings = Settings(database={"url": sqlite_url}, policies={"default": {"arms": ARMS}})
    decision_id = ""
    statuses = []
    async with client_of(settings) as client:
        for method, path, headers, body in examples():
            answer = await client.request(
                method,
                path.replace("{decision_id}", decision_id),
                data=body.replace("{decision_id}", decision_id).encode() or None,
                headers={"Content-Type": "application/json", **headers},
            )
            text = await answer.text()
            assert answer.status in {200, 201, 204}, (method, path, text)
            statuses.append(answer.status)
            said: Any = await answer.json() if answer.content_type == "application/json" else {}
            decision_id = said.get("decision_id", decision_id)
    assert len(statuses) >= 9
