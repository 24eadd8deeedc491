"""The commands against a real daemon and its database."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path

import pytest
from tests.e2e.commands import as_json, run
from tests.e2e.conftest import Running, Start


@pytest.fixture
def daemon(start: Start) -> Running:
    return start()


def test_a_query_is_routed_rewarded_and_seen_in_the_statistics(daemon: Running) -> None:
    decision = as_json("route", "-", "--explain", url=daemon.url, stdin="What is 17 times 23?")
    assert {arm["arm"] for arm in decision["arms"]} >= {decision["arm"]}
    receipt = as_json("reward", decision["decision_id"], "up", url=daemon.url)
    assert receipt["reward"] == 1.0
    assert as_json("reward", decision["decision_id"], "up", url=daemon.url)["duplicate"] is True
    assert as_json("reward", decision["decision_id"], "--retract", url=daemon.url)["reward"] is None
    other = next(arm["arm"] for arm in decision["arms"] if arm["arm"] != decision["arm"])
    assert as_json("reward", decision["decision_id"], "0.5", "--arm", other, url=daemon.url)["arm"] == other
    assert as_json("stats", url=daemon.url)["decisions"] == 1
    assert "decisions" in run("stats", url=daemon.url)
    assert "converged" in run("stats", "--report", url=daemon.url)
    assert decision["arm"] in run("stats", "--contexts", url=daemon.url)
    shown = run("route", "What is 17 times 23?", "--dry-run", "--explain", url=daemon.url)
    assert "17 times" not in shown
    assert "promise" in shown


def test_arms_are_added_changed_listed_and_deleted(daemon: Running) -> None:
    run("arms", "add", "newcomer", "--usd-per-mtok-out", "0.5", "--capability", "vision", url=daemon.url)
    run("arms", "set", "newcomer", "--disable", url=daemon.url)
    listed = {arm["arm"]: arm for arm in as_json("arms", url=daemon.url)["arms"]}
    assert listed["newcomer"]["enabled"] is False
    assert listed["newcomer"]["capabilities"] == ["vision"]
    assert listed["newcomer"]["price"]["usd_per_mtok_out"] == 0.5
    assert "newcomer" in run("arms", url=daemon.url)
    run("arms", "delete", "newcomer", url=daemon.url)
    assert "newcomer" not in run("arms", url=daemon.url)
    refused = run("arms", "delete", "newcomer", url=daemon.url, code=1)
    assert refused.count("no arm newcomer") == 1  # an error is said once, in one line
    assert len(refused.strip().splitlines()) == 1
    nothing = run("arms", "add", "newcomer", "--usd-per-mtok-out", "nan", url=daemon.url, code=2)
    assert nothing == "banditd: a number is NaN or infinite: give a finite one\n"
    wrong = run("arms", "add", "newcomer", "--usd-per-mtok-out=-1", url=daemon.url, code=1)
    assert (wrong.count("banditd:"), wrong.count("usd_per_mtok_out"), len(wrong.strip().splitlines())) == (1, 1, 1)


def test_an_account_is_corrected_once_per_id(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "budget.yaml"
    arms = "[{arm: small, price: {usd_per_request: 0.1}}]"
    file.write_text(f"policies: {{default: {{budgets: [{{name: day, usd: 9, per: day}}], arms: {arms}}}}}")
    url = start(config=file).url
    for expected in (1.5, 3.0):  # each is one of its own
        corrected = as_json("correct-budget", "day", "1.5", "--reason", "beside the router", url=url)
        assert (corrected["charged_usd"], corrected["duplicate"]) == (expected, False)
    for duplicate in (False, True):
        corrected = as_json("correct-budget", "day", "1", "--reason", "x", "--id", "2026-11-29/räd", url=url)
        assert (corrected["charged_usd"], corrected["duplicate"]) == (4.0, duplicate)


def test_simulated_traffic_is_learned_from_and_the_log_agrees_with_the_state(daemon: Running, tmp_path: Path) -> None:
    result = as_json("simulate", "--requests", "600", "--seed", "5", "--report", url=daemon.url)
    told = result["feedback"]
    worst = min(arm["fixed_reward"] for arm in result["arms"])
    uniform = sum(arm["fixed_reward"] for arm in result["arms"]) / len(result["arms"])
    assert result["requests"] == result["learned"]["stats"]["decisions"] == 600
    assert result["failures"] == {}
    assert worst < uniform < result["reward"]["last_third"] <= result["reward"]["oracle_last_third"]
    assert told["duplicate"] == told["told_duplicate"] > 0
    assert told["correction"] == told["told_correction"] > 0
    assert told["missing"] > 0

    assert daemon.stop() == 0
    database = ("--database", f"sqlite:///{tmp_path}/banditd.db")
    (report,) = as_json("rebuild", "--check", *database)
    assert report["agrees"] is True
    assert report["decisions"] == told["first"]
    exported = as_json("export", str(tmp_path / "log.jsonl"), *database)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert exported["decisions"] == len(rows) == 600
    assert sum(row["reward"] is not None for row in rows) == told["first"]
    run("export", str(tmp_path / "log.parquet"), *database)
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "log.parquet").num_rows == 600
    taught = as_json("export", "--prior", str(tmp_path / "prior.json"), *database)
    prior = json.loads((tmp_path / "prior.json").read_text(encoding="utf-8"))
    rewarded = sum(row["reward"] is not None for row in rows)
    assert taught["prior_rewards"] == prior["rewards"] == pytest.approx(rewarded)
    run("export", "--prior", str(tmp_path / "prior.json"), "--policy", "nobody", *database, code=1)
    run("rebuild", "--write", *database)
    assert as_json("rebuild", "--check", *database)[0]["agrees"] is True


def test_the_simulator_keeps_off_arms_that_may_be_real(daemon: Running) -> None:
    run("arms", "add", "acme-production", url=daemon.url)
    said = run("simulate", "--requests", "5", url=daemon.url, code=2)
    assert "acme-production" in said
    assert "--invent-arms" in said
    run("simulate", "--requests", "5", "--invent-arms", url=daemon.url)


def _folder(place: Path) -> Path:
    """A small data set of the replay format: two kinds of prompts, each with an arm that is good at it."""
    rng = random.Random(3)
    place.mkdir()
    with (
        gzip.open(place / "prompts.jsonl.gz", "wt", encoding="utf-8") as prompts,
        gzip.open(place / "outcomes.csv.gz", "wt", encoding="utf-8", newline="") as outcomes,
    ):
        writer = csv.writer(outcomes)
        writer.writerow(["id", "coder", "coder|cost_usd", "writer", "writer|cost_usd"])
        for row in range(120):
            code = rng.random() < 0.5
            text = (
                f"def f{row}(x): return x[{row}] # fix the IndexError" if code else f"Write a poem about river {row}."
            )
            prompts.write(json.dumps({"id": row, "prompt": text, "category": "code" if code else "poem"}) + "\n")
            writer.writerow([row, float(code), 0.001, float(not code), 0.002])
    return place


def test_a_replay_through_the_daemon_plays_every_row_there_and_gives_the_same_report(
    daemon: Running, tmp_path: Path
) -> None:
    folder = _folder(tmp_path / "two-kinds")
    inside = json.loads(run("replay", str(folder), "--seeds", "4", "--json", "-"))
    outside = json.loads(run("replay", str(folder), "--seeds", "1", "--json", "-", "--url", daemon.url))
    assert inside.keys() == outside.keys()
    for same in ("dataset", "arms", "rows", "objective"):
        assert inside[same] == outside[same]
    for reference in ("uniform", "best_fixed", "best_per_category", "oracle"):
        assert inside["references"][reference] == outside["references"][reference]
    assert inside["utility"]["last_third"] > inside["references"]["uniform"] + 0.1
    stats = as_json("stats", url=daemon.url)
    assert stats["decisions"] == inside["rows"] == 120
    assert outside["reward"]["mean"] == pytest.approx(stats["mean_reward"])
    assert not any(arm["arm"].startswith("replay-") for arm in as_json("arms", url=daemon.url)["arms"])


def test_a_replay_writes_its_files(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "two-kinds")
    shown = run(
        "replay", str(folder), "--cost-weight", "0.2", "--limit", "60", "--reward-delay", "3", "--order", "source",
        "--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "r.png"),
    )  # fmt: skip
    assert "two-kinds" in shown
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["rows"] == 60
    assert report["objective"]["cost_weight"] == 0.2
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_a_daemon_that_is_not_there_is_told_with_the_mend() -> None:
    said = run("stats", url="http://127.0.0.1:9", code=1)
    assert "banditd serve" in said


def test_a_key_is_asked_for_and_its_scope_is_kept(start: Start, tmp_path: Path) -> None:
    made = as_json("keys", "create", "--name", "gateway", "--scope", "route")
    config = tmp_path / "keys.yaml"
    config.write_text(
        json.dumps({"server": {"api_keys": [made["entry"]]}, "policies": {"default": {"arms": [{"arm": "only"}]}}}),
        encoding="utf-8",
    )
    daemon = start(config=config)
    assert "401" in run("route", "hello", url=daemon.url, code=1)
    routed = as_json("route", "hello", "--api-key", made["key"], url=daemon.url)
    assert routed["arm"] == "only"
    assert "403" in run("stats", "--api-key", made["key"], url=daemon.url, code=1)
    assert daemon.stop() == 0
    assert made["key"] not in daemon.log.read_text(encoding="utf-8")


def test_a_serving_daemon_is_backed_up_and_its_backup_serves(daemon: Running, start: Start, tmp_path: Path) -> None:
    kept = as_json("route", "What is 17 times 23?", url=daemon.url)["decision_id"]
    database = f"sqlite:///{tmp_path}/banditd.db"
    copy = tmp_path / "copy.db"
    assert as_json("backup", str(copy), "--database", database)["decisions"] == 1
    lost = as_json("route", "And 18 times 23?", url=daemon.url)["decision_id"]
    assert "stop it first" in run("restore", str(copy), "--database", database, "--overwrite", code=1)
    daemon.process.kill()
    daemon.process.wait()
    assert "--overwrite" in run("restore", str(copy), "--database", database, code=1)
    restored = as_json("restore", str(copy), "--database", database, "--overwrite")
    assert Path(restored["kept"]).exists()
    again = start(database=database)
    assert run("reward", kept, "up", url=again.url)
    assert "no decision" in run("reward", lost, "up", url=again.url, code=1)
