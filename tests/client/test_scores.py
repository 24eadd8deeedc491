"""``banditd import``: scores of files and of Langfuse's API (its public form) become rewards, counted once."""

from __future__ import annotations

import asyncio
import base64
import csv
import itertools
import json
import math
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from tests.client.conftest import LiveDaemon

from banditd.cli import commands
from banditd.cli.import_scores import _keep_importing
from banditd.cli.options import Daemon
from banditd.client import Client
from banditd.core.errors import BanditdError, InvalidInputError, UnavailableError
from banditd.scores.langfuse import reward_of
from banditd.scores.posting import Score, as_metric
from banditd.web.schemas.base import NAME_PATTERN

SECRET = "sk-lf-1"


def run(daemon: LiveDaemon, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["import", *arguments, "--url", daemon.url])


def rewards_of(daemon: LiveDaemon, decision_id: str) -> list[tuple[Any, ...]]:
    with Client(daemon.url) as client:
        found = client.call("GET", f"/v1/decisions/{decision_id}")
    return [(row["source"], row["metric"], row["reward"], row["revision"]) for row in found["rewards"]]


def route(daemon: LiveDaemon, reference: str | None = None) -> str:
    with Client(daemon.url) as client:
        options = {} if reference is None else {"reference": reference}
        return client.route("hello", **options).decision_id


def test_rows_of_a_csv_file_count_once(daemon: LiveDaemon, tmp_path: Path) -> None:
    first, second = route(daemon), route(daemon, "ticket-7")
    scores = tmp_path / "scores.csv"
    scores.write_text(
        f"\ufeffdecision_id,reference,value,thumb,metric,reviewer\n{first},,0.25,,accuracy,ann\n,ticket-7,,up,,\n",
        encoding="utf-8",
    )
    done = run(daemon, "csv", str(scores), "--source", "judge")
    assert (done.exit_code, done.output.splitlines()[-1].split(",")[0]) == (0, "2 new")
    again = run(daemon, "csv", str(scores), "--source", "judge", "--json")
    assert json.loads(again.stdout) == {
        "new": 0,
        "corrected": 0,
        "known": 2,
        "unknown": 0,
        "refused": 0,
        "replaced": 0,
        "failures": [],
    }
    assert rewards_of(daemon, first) == [("judge", "accuracy", 0.25, 0)]
    assert rewards_of(daemon, second) == [("judge", "quality", 1.0, 0)]
    row = f"{first},{{}},accuracy,judge\n"
    scores.write_text(f"decision_id,value,metric,source\n{row.format(0.3)}{row.format(0.5)}", encoding="utf-8")
    done = run(daemon, "csv", str(scores))
    assert (done.exit_code, "1 corrected" in done.output, "1 not sent" in done.output) == (0, True, True)
    assert rewards_of(daemon, first)[-1] == ("judge", "accuracy", 0.5, 1)  # a correction


def test_what_is_wrong_in_a_row_is_named_and_the_others_count(daemon: LiveDaemon, tmp_path: Path) -> None:
    decisions = [route(daemon) for _ in range(3)]
    scores = tmp_path / "scores.csv"
    rows = [f"{decisions[0]},0.5", f"{decisions[1]},7", "01890a5d-ac96-774b-bcce-b302099a8057,1", f"{decisions[2]},"]
    scores.write_text("decision_id,value\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = run(daemon, "csv", str(scores), "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert {name: report[name] for name in ("new", "unknown", "refused")} == {"new": 1, "unknown": 1, "refused": 2}
    assert {failure["origin"] for failure in report["failures"]} == {"line 3", "line 4", "line 5"}
    assert [value for _, _, value, _ in rewards_of(daemon, decisions[0])] == [0.5]


def test_rows_with_long_texts_beside_them_are_sent_in_shorter_lists(daemon: LiveDaemon, tmp_path: Path) -> None:
    decision = route(daemon)
    scores = tmp_path / "scores.csv"
    rows = [f"{decision},0.5,m{number},{'a' * 15_000}" for number in range(150)]
    rows.append(f"{decision},0.5,long,{'a' * 100_000}")
    scores.write_text("decision_id,value,metric,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = run(daemon, "csv", str(scores), "--json")
    report = json.loads(done.stdout)
    assert {name: report[name] for name in ("new", "refused")} == {"new": 150, "refused": 1}
    assert [failure["origin"] for failure in report["failures"]] == ["line 152"]


def test_a_cell_of_any_length_costs_its_own_row_alone(daemon: LiveDaemon, tmp_path: Path) -> None:
    decision = route(daemon)
    scores = tmp_path / "scores.csv"
    rows = [f"{decision},0.5,first,short", f"{decision},0.5,second,{'a' * 140_000}", f"{decision},0.5,third,short"]
    scores.write_text("decision_id,value,metric,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    limit = csv.field_size_limit()
    report = json.loads(run(daemon, "csv", str(scores), "--json").stdout)
    assert (report["new"], report["refused"]) == (2, 1)
    assert report["failures"] == [{"origin": "line 3", "reason": "its cell answer has more than 131,072 characters"}]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id,score\n1,2\n", "must name decision_id or reference"),
        ("", "it has nothing"),
        ("decision_id,value,value\nx,1,0\n", "names a column twice"),
        ('reference,value,note\nx,1,"unclosed\ny,1,z\n', "after line"),
    ],
)
def test_a_file_that_is_no_list_of_scores_says_why(
    daemon: LiveDaemon, tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "scores.csv").write_text(content, encoding="utf-8")
    refused = run(daemon, "csv", str(tmp_path / "scores.csv"))
    assert isinstance(refused.exception, InvalidInputError)
    assert says in str(refused.exception)


def test_a_row_that_is_no_score_is_refused_alone(daemon: LiveDaemon, tmp_path: Path) -> None:
    decisions = [route(daemon) for _ in range(7)]
    cells = ["0.5", "nan", "good", "", "0.5,more", "1_0", "1" + "0" * 400]
    scores = tmp_path / "scores.csv"
    rows = [f"{decision},{cell}" for decision, cell in zip(decisions, cells, strict=True)]
    scores.write_text("decision_id,value\n" + "\n".join(rows) + "\n", encoding="utf-8")
    report = json.loads(run(daemon, "csv", str(scores), "--json").stdout)
    assert (report["new"], report["refused"]) == (1, 6)
    assert [failure["reason"] for failure in report["failures"]] == [
        "'nan' is no number", "'good' is no number", "it has neither a value nor a thumb",
        "it has not as many cells as the first line", "'1_0' is no number", f"'{cells[-1]}' is no number",
    ]  # fmt: skip
    scores.write_bytes("decision_id,value\n".encode("utf-16"))
    assert "save it as CSV in UTF-8" in str(run(daemon, "csv", str(scores)).exception)


def test_of_several_values_of_one_score_the_last_counts_however_often_it_is_sent(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    decision = route(daemon)
    scores = tmp_path / "scores.csv"
    for last, counts in ((0.5, "1 new, 0 corrected"), (0.75, "0 new, 1 corrected"), (0.75, "0 corrected, 1 known")):
        scores.write_text(f"decision_id,value\n{decision},0.25\n{decision},{last}\n", encoding="utf-8")
        assert counts in run(daemon, "csv", str(scores)).output
    assert rewards_of(daemon, decision)[-1] == ("metric", "quality", 0.75, 1)


def test_a_daemon_that_is_away_is_all_that_is_told(tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("reference,value\nx,1\n", encoding="utf-8")
    away = CliRunner().invoke(commands, ["import", "csv", str(scores), "--url", "http://127.0.0.1:9"])
    assert isinstance(away.exception, BanditdError)
    assert " new" not in away.output


def test_thumbs_of_open_webui_find_their_message(daemon: LiveDaemon, tmp_path: Path) -> None:
    decision = route(daemon, "message-1")
    rows = [
        {
            "id": "f1",
            "type": "rating",
            "data": {"rating": -1, "model_id": "auto"},
            "meta": {"message_id": "message-1"},
        },
        {"id": "f2", "type": "rating", "data": {"rating": 1}, "meta": {"message_id": "of-another-model"}},
        {"id": "f3", "type": "rating", "data": {"rating": None}, "meta": {"message_id": "message-1"}},
        {"id": "f4", "data": None, "meta": None},
        {"id": "f5", "type": "rating", "data": {"rating": [1]}, "meta": {"message_id": "message-1"}},
        {"id": "f6", "type": "rating", "data": {"rating": {}}, "meta": {"message_id": "message-1"}},
    ]
    export = tmp_path / "feedback.json"
    export.write_text(json.dumps(rows), encoding="utf-8")
    done = run(daemon, "open-webui", str(export))
    assert done.exit_code == 0
    assert "1 new, 0 corrected, 0 known before, 1 of no decision here, 0 refused" in done.output
    assert rewards_of(daemon, decision) == [("human", "quality", 0.0, 0)]


def event(number: object, reference: dict[str, str], name: str = "gen_ai.evaluation.result") -> dict[str, Any]:
    """A log record as the collector's file exporter writes it, with its evaluation's number."""
    attributes: list[Any] = [{"key": "gen_ai.evaluation.name", "value": {"stringValue": "Relevance"}}]
    if number is not None:
        attributes.append({"key": "gen_ai.evaluation.score.value", "value": number})
    if "id" in reference:
        attributes.append({"key": "gen_ai.response.id", "value": {"stringValue": reference["id"]}})
    return {"eventName": name, "traceId": reference.get("trace", ""), "spanId": "", "attributes": attributes}


def test_evaluation_events_find_their_answer_or_trace(daemon: LiveDaemon, tmp_path: Path) -> None:
    by_trace, by_answer = route(daemon, "0af7651916cd43dd8448eb211c80319c"), route(daemon, "chatcmpl-7")
    records = [
        event({"doubleValue": 0.25}, {"trace": "0af7651916cd43dd8448eb211c80319c"}),
        event({"intValue": "1"}, {"trace": "0af7651916cd43dd8448eb211c80319c", "id": "chatcmpl-7"}),
        event(None, {"id": "chatcmpl-7"}),  # a label alone
        event({"doubleValue": 0.0}, {"id": "chatcmpl-7"}, "gen_ai.client.inference.operation.details"),
    ]
    lines = [{"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]} for record in records]
    file = tmp_path / "logs.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    for counts in ("2 new, 0 corrected, 0 known", "0 new, 0 corrected, 2 known"):
        done = run(daemon, "otlp", str(file))
        assert (done.exit_code, counts in done.output) == (0, True), done.output
    assert rewards_of(daemon, by_trace) == [("judge", "Relevance", 0.25, 0)]
    assert rewards_of(daemon, by_answer) == [("judge", "Relevance", 1.0, 0)]
    odd: list[Any] = [
        event({"doubleValue": 10**399}, {"id": "chatcmpl-7"}),
        event({"doubleValue": math.inf}, {"id": "chatcmpl-7"}),
        event({"stringValue": "n/a"}, {"id": "chatcmpl-7"}),
        event({"arrayValue": {}}, {"id": "chatcmpl-7"}),
        {**event({"doubleValue": 0.5}, {"id": "chatcmpl-7"}), "attributes": [7]},
    ]
    lines = [{"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]} for record in [*odd, records[1]]]
    huge = json.dumps(lines[0]).replace(str(10**399), "1" * 5_000)  # more digits than Python reads
    file.write_text("\n".join([huge, *map(json.dumps, lines)]), encoding="utf-8")
    report = json.loads(run(daemon, "otlp", str(file), "--json").stdout)
    assert (report["new"], report["known"], report["refused"]) == (0, 1, 1)
    assert [failure["origin"] for failure in report["failures"]] == ["line 6"]
    file.write_text('{"resourceLogs": 7}\n', encoding="utf-8")
    refused = run(daemon, "otlp", str(file))
    assert isinstance(refused.exception, InvalidInputError)
    assert "line 1" in str(refused.exception)
    unlike = ['{"resourceLogs": null}', '{"resourceLogs": [{"scopeLogs": null}]}', '{"cut off']
    file.write_bytes(b"\xef\xbb\xbf" + "\n".join([json.dumps(lines[-1]), *unlike]).encode())
    report = json.loads(run(daemon, "otlp", str(file), "--json").stdout)
    assert (report["known"], [failure["origin"] for failure in report["failures"]]) == (1, ["line 4"])
    file.write_bytes(b"\xff\xfe\n")
    assert isinstance(run(daemon, "otlp", str(file)).exception, InvalidInputError)


def test_a_key_on_two_decisions_is_refused_not_lost(daemon: LiveDaemon, tmp_path: Path) -> None:
    first, other = route(daemon), route(daemon)
    file = tmp_path / "scores.csv"
    file.write_text(f"decision_id,value,idempotency_key\n{first},0.5,k1\n{other},0.6,k1\n", encoding="utf-8")
    report = json.loads(run(daemon, "csv", str(file), "--json").stdout)
    assert (report["new"], [failure["origin"] for failure in report["failures"]]) == (1, ["line 3"])


def score(number: int, value: object, **fields: Any) -> dict[str, Any]:
    """A score in the form of Langfuse's API, with its subject."""
    return {
        "id": f"s{number}", "projectId": "p", "name": "helpfulness", "value": value, "dataType": "NUMERIC",
        "source": "EVAL", "timestamp": "2026-01-01T00:00:00Z", "environment": "default",
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": f"2026-01-01T00:00:0{number}Z",
        "subject": {"kind": "trace", "id": "trace-1"}, **fields,
    }  # fmt: skip


@asynccontextmanager
async def langfuse(
    pages: list[list[dict[str, Any]]], status: int = 200, cursors: Iterator[str] | None = None
) -> AsyncIterator[tuple[str, list[Any]]]:
    """Its scores API: pages by cursor, behind basic authentication. cursors : it says these, and goes round."""
    queries: list[Any] = []

    async def scores(request: web.Request) -> web.Response:
        queries.append(dict(request.query))
        expected = "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-1").decode()
        if request.headers.get("Authorization") != expected or status != 200:
            return web.json_response({"message": "no"}, status=401 if status == 200 else status)
        if cursors is not None:
            return web.json_response({"data": pages[len(queries) % len(pages)], "meta": {"cursor": next(cursors)}})
        page = int(request.query.get("cursor", "0"))
        meta = {"limit": 100} | ({"cursor": str(page + 1)} if page + 1 < len(pages) else {})
        return web.json_response({"data": pages[page], "meta": meta})

    app = web.Application()
    app.router.add_get("/api/public/v3/scores", scores)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://127.0.0.1:{1}".format(*runner.addresses[0]), queries
    finally:
        await runner.cleanup()


async def import_langfuse(daemon: LiveDaemon, url: str, *more: str, secret: str = SECRET) -> Result:
    keys = ("--langfuse-url", url, "--public-key", "pk-lf-1", "--secret-key", secret)
    return await asyncio.to_thread(run, daemon, "langfuse", *keys, *more)


async def test_scores_of_langfuse_reward_their_trace_and_follow_its_changes(daemon: LiveDaemon) -> None:
    decision = await asyncio.to_thread(route, daemon, "trace-1")
    pages = [
        [score(1, 0.25), score(2, "good", dataType="CATEGORICAL")],
        [
            score(3, 0.75),  # of the same name on the same trace: the newest counts
            score(4, True, dataType="BOOLEAN", name="is correct?", source="ANNOTATION",
                  subject={"kind": "observation", "id": "o", "traceId": "trace-1"}),
            score(5, 1.0, subject={"kind": "session", "id": "trace-1"}),
            score(6, 1.0, subject={"kind": "trace", "id": "of-another-program"}),
        ],
    ]  # fmt: skip
    async with langfuse(pages) as (url, queries):
        done = await import_langfuse(daemon, url, "--score", "helpfulness")
        assert done.exit_code == 0, done.output
        assert "2 new, 0 corrected, 0 known before, 1 of no decision here, 0 refused" in done.output
        assert [query.get("cursor") for query in queries] == [None, "1"]
        assert (queries[0]["fields"], queries[0]["name"]) == ("subject", "helpfulness")
        again = await import_langfuse(daemon, url, "--json")
        assert json.loads(again.stdout)["known"] == 2
        pages[1][0]["value"] = 0.5
        await import_langfuse(daemon, url)
    found = await asyncio.to_thread(rewards_of, daemon, decision)
    assert sorted(found) == [
        ("human", as_metric("is correct?"), 1.0, 0),
        ("judge", "helpfulness", 0.5, 1), ("judge", "helpfulness", 0.75, 0),
    ]  # fmt: skip


async def test_langfuse_that_refuses_or_fails_is_named(daemon: LiveDaemon) -> None:
    async with langfuse([[]]) as (url, _):
        refused = await import_langfuse(daemon, url, secret="sk-lf-wrong")
        assert isinstance(refused.exception, InvalidInputError)
        assert "keys" in str(refused.exception)
        assert "sk-lf-wrong" not in refused.output + str(refused.exception)
    async with langfuse([[]], status=503) as (url, _):
        assert isinstance((await import_langfuse(daemon, url)).exception, UnavailableError)


@pytest.mark.parametrize(
    ("pages", "cursors"),
    [(3, itertools.repeat("same")), (3, itertools.cycle(["one", "other"])), (1, map(str, itertools.count()))],
)
async def test_pages_of_langfuse_that_do_not_end_stop_the_import(
    daemon: LiveDaemon, pages: int, cursors: Iterator[str]
) -> None:
    async with langfuse([[score(number, 1.0)] for number in range(pages)], cursors=cursors) as (url, queries):
        stopped = await import_langfuse(daemon, url, "--every", "3600")
    assert isinstance(stopped.exception, InvalidInputError)
    assert f"{url}/api/public/v3/scores does not get on" in str(stopped.exception)
    assert re.search(r"cursor '(same|one|1)'", str(stopped.exception))
    assert len(queries) <= 3


def test_who_looks_again_and_again_goes_on_after_a_refused_score(
    daemon: LiveDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    route(daemon, "trace-9")
    looks = iter((7.0, 1.0))

    async def look() -> list[Score]:
        value = next(looks)
        return [Score(f"score {value}", {"reference": "trace-9", "value": value, "source": "judge"})]

    with pytest.raises(RuntimeError, match="StopIteration"):  # the third look ends it
        _keep_importing(look, 0.01, daemon=Daemon(daemon.url), as_json=False)
    said = capsys.readouterr()
    assert "score 7.0: value 7.0 is outside the scale" in said.err
    assert "1 new" in said.out


async def test_odd_pages_of_langfuse_lose_no_other_score(daemon: LiveDaemon) -> None:
    await asyncio.to_thread(route, daemon, "trace-2")
    good = score(1, 1.0, subject={"kind": "trace", "id": "trace-2"})
    rows: list[Any] = [
        score(2, math.nan),
        "no row",
        None,
        score(3, math.inf),
        score(4, 10**400),
        score(5, "0.5"),
        good,
    ]
    async with langfuse([rows]) as (url, _):
        done = await import_langfuse(daemon, url)
        assert "1 new" in done.output, done.exception
        colon = await asyncio.to_thread(
            run, daemon, "langfuse", "--langfuse-url", url, "--public-key", "a:b", "--secret-key", "x"
        )
        assert isinstance(colon.exception, InvalidInputError)


@pytest.mark.parametrize(
    "subject", [None, {}, {"kind": "observation", "id": "o"}, {"kind": "trace", "id": 7}, "trace"]
)
def test_a_score_of_no_trace_is_no_reward(subject: object) -> None:
    assert reward_of(score(1, 1.0, subject=subject)) is None


def test_names_of_scores_stay_apart_as_metrics() -> None:
    plain = {
        "accuracy": "accuracy",
        " is correct ": "is-correct",
        "a.b/c@d": "a.b/c@d",
        "": "quality",
        "  ": "quality",
    }
    assert {name: as_metric(name) for name in plain} == plain
    names = [
        "\u6bd2\u6027", "\u6709\u7528\u6027", "is correct?", "is correct!", "is correct", "-", "_x", "x",
        "caf\u00e9", "caf", "\ud800", "y" * 128, "y" * 129, "y" * 130,
    ]  # fmt: skip
    metrics = [as_metric(name) for name in names]
    assert len(set(metrics)) == len(names)
    assert all(re.match(NAME_PATTERN, metric) and len(metric) <= 128 for metric in metrics)
    assert as_metric("cafe\u0301") == as_metric("caf\u00e9")  # the same letters, written otherwise
    assert as_metric("is correct?").startswith("is-correct-")
