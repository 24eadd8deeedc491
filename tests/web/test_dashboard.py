"""The dashboard's files as they are served, and its endpoints over a real daemon on both databases."""

from __future__ import annotations

import asyncio
import gzip
import re
import threading
from collections.abc import AsyncIterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.over_http import client_of, get
from tests.patience import PATIENT

from banditd.features.lexical import LEXICAL_NAMES
from banditd.settings import Settings
from banditd.web import files
from banditd.web.files import FOLDER

OWN = sorted(
    path for path in FOLDER.rglob("*") if path.suffix in {".js", ".css", ".html"} and "vendor" not in path.parts
)
ARMS = [
    {"arm": "small", "price": {"usd_per_mtok_in": 0.1, "usd_per_mtok_out": 0.4}},
    {"arm": "large", "price": {"usd_per_mtok_in": 3.0, "usd_per_mtok_out": 15.0}},
]
QUERIES = ("What is 17 times 23?", "Write a poem about rain.", "def f(x): return x", "Translate 'cat'.")


async def test_the_page_allows_nothing_inline_and_nothing_from_elsewhere(client: Any) -> None:
    answer = await client.get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    page = await answer.text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)


async def test_every_file_that_a_page_names_is_there(client: Any) -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:src|href)=\"(dashboard/[^\"]+)\"", page))
    for path in OWN:
        if path.suffix == ".js":
            for target in re.findall(r"from \"(\.[^\"]+)\"", path.read_text(encoding="utf-8")):
                named.add("dashboard/" + (path.parent / target).resolve().relative_to(FOLDER).as_posix())
    assert len(named) > 12
    for name in sorted(named):
        answer = await client.get(f"/{name}")
        assert answer.status == 200, name
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[name.rsplit(".", 1)[1]]
        assert answer.headers["Content-Type"].startswith(kind)


def test_the_dashboard_names_no_other_host() -> None:
    for path in OWN:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\beval\(|innerHTML|dangerouslySet", text), path


# ---------------------------------------------------------------- colours

# What a colour, linear, looks like without red, green or blue cones (Machado and others 2009, severity 1).
_SIGHTS = {
    "all cones": np.eye(3),
    "no red": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "no green": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "no blue": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
_XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def _linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    ratio = _XYZ @ np.clip(linear, 0, 1) / np.array([0.9505, 1.0, 1.0888])
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _contrast(one: str, other: str) -> float:
    low, high = sorted(_linear(each) @ np.array([0.2126, 0.7152, 0.0722]) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_arms_are_told_apart_by_colour_whatever_eyes_one_has() -> None:
    sheet = (FOLDER / "dashboard.css").read_text(encoding="utf-8")
    blocks = [dict(re.findall(r"--(hue-\d|card): (#[0-9a-f]{6})", text)) for text in re.findall(r"\{[^{}]*\}", sheet)]
    themes = [one for one in blocks if "card" in one]
    assert len(themes) == 3  # light; dark as chosen; dark as the system has it
    assert themes[1] == themes[2]
    for theme in themes:
        hues = [theme[f"hue-{i}"] for i in range(8)]
        for hue in hues:
            assert _contrast(hue, theme["card"]) >= 3.0, hue
        for sight, matrix in _SIGHTS.items():
            labs = [_lab(matrix @ _linear(hue)) for hue in hues]
            for i, j in combinations(range(8), 2):
                assert np.linalg.norm(labs[i] - labs[j]) >= 14.0, (sight, hues[i], hues[j])


async def test_a_file_is_sent_again_only_when_it_changed(client: Any) -> None:
    plain = await client.get("/dashboard/app.js", headers={"Accept-Encoding": "identity"})
    body = await plain.read()
    assert body == (FOLDER / "app.js").read_bytes()
    again = await client.get("/dashboard/app.js", headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    packed = await client.get("/dashboard/app.js", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == body


@pytest.mark.parametrize(
    "name", ["nothing.js", "../app.py", "..%2fapp.py", "%2e%2e/app.py", "vendor/LICENSE.htm", ""]
)
async def test_no_other_file_is_reached(client: Any, name: str) -> None:
    answer = await client.get(f"/dashboard/{name}")
    assert answer.status == 404
    assert (await answer.json())["code"] == "PATH_NOT_FOUND"


async def test_files_need_no_key_and_figures_do(serve: Any, daemon: Any) -> None:
    from banditd.web.security import ApiKey

    client = await serve(daemon, api_keys=(ApiKey("one", "0" * 64, frozenset({"read"})),))
    for path in ("/", "/dashboard/app.js"):
        assert (await client.get(path)).status == 200
    for path in (
        "/v1/stats/map",
        "/v1/stats/choices",
        "/v1/stats/learning",
        "/v1/stats/upstreams",
        "/v1/stats/abilities",
    ):
        assert (await client.get(path)).status == 401


async def test_parameters_reach_the_service(client: Any) -> None:
    found = await (await client.get("/v1/stats/map?policy=p&limit=7")).json()
    assert found == {"policy": "p", "points": [], "limit": 7}
    assert (await client.get("/v1/stats/map?limit=501")).status == 422
    assert (await (await client.get("/v1/stats/choices?policy=p")).json())["policy"] == "p"


# ---------------------------------------------------------------- over a real daemon


@pytest.fixture
async def live(database_url: str) -> AsyncIterator[Any]:
    settings = Settings(
        database={"url": database_url, **PATIENT},
        learner={"pause_ms": 0, "poll_s": 0.25, "lease_s": 2},
        policies={"default": {"arms": ARMS, "cost_weight": 0.1}, "even": {"kind": "uniform", "arms": ARMS}},
    )
    async with client_of(settings) as client:
        yield client


async def settled(live: Any, policy: str, rewards: int) -> None:
    """Until all rewards are learned and the learner has come to rest: then every answer is of one snapshot."""
    last, since = -1, 0.0
    async with asyncio.timeout(120):
        while True:
            now = asyncio.get_running_loop().time()
            report = await get(live, f"/v1/policies/{policy}/report")
            if report["policy_version"] != last or report["stats"]["rewards"] < rewards:
                last, since = report["policy_version"], now
            elif now - since > 0.5:
                return
            await asyncio.sleep(0.05)


async def walk(live: Any, policy: str, count: int) -> list[dict[str, Any]]:
    queries = [{"input": f"{QUERIES[n % 4]} {n}", "policy": policy} for n in range(count)]
    answer = await (await live.post("/v1/route/batch", json={"queries": queries})).json()
    made = [result["decision"] for result in answer["results"]]
    values = {"large": 0.8, "small": 0.3}
    rewards = [{"decision_id": one["decision_id"], "value": values[one["arm"]], "source": "judge"} for one in made]
    assert (await live.post("/v1/rewards", json=rewards)).status == 200
    await settled(live, policy, count)
    return made


async def test_the_map_has_the_decisions_and_their_first_two_components(live: Any) -> None:
    made = await walk(live, "even", 12)
    points = (await get(live, "/v1/stats/map?policy=even&limit=10"))["points"]
    assert [point["decision_id"] for point in points] == [one["decision_id"] for one in reversed(made)][:10]
    assert all(point["reward"] == (0.8 if point["arm"] == "large" else 0.3) for point in points)
    whole = await get(live, f"/v1/decisions/{points[0]['decision_id']}")
    # x = bias | lexical scalars | components of the embedding | ...: the pair stands next to each other in it.
    at = whole["x"].index(points[0]["position"][0])
    assert whole["x"][at : at + 2] == points[0]["position"]
    assert at == 1 + len(LEXICAL_NAMES)
    assert (await live.get("/v1/stats/map?policy=nobody")).status == 404


async def test_the_choices_are_those_of_the_policy(live: Any) -> None:
    assert (await get(live, "/v1/stats/choices"))["clusters"] == []
    await walk(live, "default", 40)
    await walk(live, "even", 8)
    found = await get(live, "/v1/stats/choices")
    seen = {row["cluster"] for row in (await get(live, "/v1/stats/contexts"))["clusters"]}
    assert {row["cluster"] for row in found["clusters"]} == seen
    posterior = {
        (row["cluster"], arm["arm"]): arm["posterior_mean"]
        for row in (await get(live, "/v1/stats/contexts"))["clusters"]
        for arm in row["arms"]
    }
    for row in found["clusters"]:
        arms = row["arms"]
        assert sum(arm["probability"] for arm in arms) == pytest.approx(1.0)
        assert row["arm"] == max(arms, key=lambda arm: arm["probability"])["arm"]
        for arm in arms:
            assert arm["utility"] == pytest.approx(arm["mean"] - arm["penalty"])
            # One price for every dollar; the weight of 0.1 is what the dearest arm costs on a typical query.
            assert arm["penalty"] / arm["cost_usd"] == pytest.approx(arms[0]["penalty"] / arms[0]["cost_usd"])
            if (row["cluster"], arm["arm"]) in posterior:
                assert arm["mean"] == pytest.approx(posterior[row["cluster"], arm["arm"]])
        assert 0.03 < max(arm["penalty"] for arm in arms) < 0.3
    for row in (await get(live, "/v1/stats/choices?policy=even"))["clusters"]:
        assert [arm["probability"] for arm in row["arms"]] == pytest.approx([0.5, 0.5])
    assert (await live.patch("/v1/arms/small", json={"enabled": False})).status == 200
    only = await get(live, "/v1/stats/choices")
    assert all([arm["arm"] for arm in row["arms"]] == ["large"] for row in only["clusters"])


async def test_abilities_and_difficulties_are_on_one_scale(live: Any) -> None:
    nothing = {"policy": "even", "arms": [], "clusters": [], "misfit": None}
    assert await get(live, "/v1/stats/abilities?policy=even") == nothing
    queries = [{"input": f"{QUERIES[n % 4]} {n}", "policy": "even"} for n in range(120)]
    answer = await (await live.post("/v1/route/batch", json={"queries": queries})).json()
    made = [result["decision"] for result in answer["results"]]
    waiting = await get(live, "/v1/stats/abilities?policy=even")
    assert {(row["ability"], row["interval"], row["rewards"]) for row in waiting["arms"]} == {(None, None, 0)}
    assert {row["reason"] for row in [*waiting["arms"], *waiting["clusters"]]} == {"not enough data: no reward yet"}
    worth = {"large": 0.9, "small": 0.5}
    log = (await get(live, "/v1/decisions?policy=even&limit=200"))["decisions"]
    cluster = {one["decision_id"]: one["cluster"] for one in log}
    hard = log[0]["cluster"]
    rewards = [
        {
            "decision_id": one["decision_id"],
            "value": worth[one["arm"]] - 0.35 * (cluster[one["decision_id"]] == hard) + 0.05 * (n % 3 - 1),
            "source": "judge",
        }
        for n, one in enumerate(made)
    ]
    assert (await live.post("/v1/rewards", json=rewards)).status == 200
    await settled(live, "even", 120)
    found = await get(live, "/v1/stats/abilities?policy=even")
    assert [row["arm"] for row in found["arms"]] == ["large", "small"]
    able, less = found["arms"]
    assert able["ability"] - able["standard_error"] > less["ability"] + less["standard_error"]
    assert sum(row["rewards"] for row in found["clusters"]) == able["rewards"] + less["rewards"] == 120
    assert sum(row["difficulty"] for row in found["clusters"]) == pytest.approx(0.0, abs=1e-6)
    assert found["clusters"][0]["cluster"] == hard
    assert found["clusters"][0]["interval"][0] > 0.0
    contexts = {row["cluster"]: row for row in (await get(live, "/v1/stats/contexts?policy=even"))["clusters"]}
    for row in found["clusters"]:
        known = contexts[row["cluster"]]
        assert {name: row[name] for name in ("name", "name_source", "words")} == {
            name: known[name] for name in ("name", "name_source", "words")
        }
        # The model's level of the average arm is about the arms' mean of what was seen.
        seen = [arm["mean_reward"] for arm in known["arms"]]
        assert row["expected_reward"] == pytest.approx(sum(seen) / len(seen), abs=0.1)
        low, high = row["expected_interval"]
        assert 0.0 < low < row["expected_reward"] < high < 1.0
    assert (await live.get("/v1/stats/abilities?policy=nobody")).status == 404


async def test_learning_compares_like_with_like(live: Any) -> None:
    empty = await get(live, "/v1/stats/learning?policy=even")
    assert (empty["played"], empty["mixture"], empty["rewards"]) == (None, None, 0)
    await walk(live, "even", 60)
    learned = await get(live, "/v1/stats/learning?policy=even")
    choices = await get(live, "/v1/stats/choices?policy=even")
    stats = await get(live, "/v1/stats?policy=even")
    clusters = (await get(live, "/v1/stats/contexts?policy=even"))["clusters"]
    assert learned["mean_reward"] == stats["mean_reward"]
    # The expectation is linear in the context, so it is the clusters' posterior means, weighted by their traffic.
    total = sum(row["decisions"] for row in clusters)
    mean = {(row["cluster"], arm["arm"]): arm["mean"] for row in choices["clusters"] for arm in row["arms"]}
    for fixed in learned["fixed"]:
        expected = sum(row["decisions"] * mean[row["cluster"], fixed["arm"]] for row in clusters) / total
        assert fixed["reward"]["mean"] == pytest.approx(expected, abs=1e-6)
        low, high = fixed["reward"]["interval"]
        assert low < fixed["reward"]["mean"] < high
    played = (
        sum(arm["decisions"] * mean[row["cluster"], arm["arm"]] for row in clusters for arm in row["arms"]) / total
    )
    assert learned["played"]["mean"] == pytest.approx(played, abs=1e-6)
    assert learned["cost_usd"] == pytest.approx(stats["predicted_spend_usd"] / 60)
    mixture = learned["mixture"]
    assert sum(mixture["shares"].values()) == pytest.approx(1.0)
    assert mixture["cost_usd"] <= learned["cost_usd"] * (1 + 1e-9)
    by_arm = {one["arm"]: one for one in learned["fixed"]}
    assert mixture["reward"] == pytest.approx(
        sum(share * by_arm[arm]["reward"]["mean"] for arm, share in mixture["shares"].items())
    )
    assert {one["arm"]: one["rewards"] for one in learned["watch"]} == {
        arm["arm"]: arm["rewards"] for arm in stats["arms"]
    }
    assert all(0.0 <= one["evidence_nats"] < learned["alarm_nats"] for one in learned["watch"])
    versions = [row["version"] for row in learned["scales"]]
    assert versions == sorted(versions)
    assert versions[-1] == learned["policy_version"]
    assert set(learned["scales"][-1]["own"]) >= {"lexical", "embedding", "cluster"}


async def test_a_search_without_an_index_goes_on_until_it_has_seen_everything(
    live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banditd.services.reports.reports._SEARCHED", 7)
    made = await walk(live, "even", 40)
    explored = [one["decision_id"] for one in reversed(made) if one["explored"]]
    assert explored
    found: list[str] = []
    path, pages = "/v1/decisions?policy=even&explored=true&limit=3", 0
    cursor = ""
    while True:
        page = await get(live, path + cursor)
        found += [one["decision_id"] for one in page["decisions"]]
        pages += 1
        if page["next_before_id"] is None:
            break
        cursor = f"&before_id={page['next_before_id']}"
    assert found == explored
    assert pages >= 40 // 7


async def test_the_files_are_read_and_compressed_off_the_event_loop(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, read = set(), files._read

    def noting(path: Path) -> files.DashboardFile:
        threads.add(threading.current_thread())
        return read(path)

    monkeypatch.setattr(files, "_read", noting)
    files.dashboard_files.cache_clear()
    assert (await client.get("/")).status == 200
    assert threads
    assert threading.main_thread() not in threads
