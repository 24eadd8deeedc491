from __future__ import annotations

from typing import Any


async def test_filters_of_the_log_reach_the_report_service(client: Any) -> None:
    query = (
        "policy=drafts&arm=a/b&session_id=s%201&cluster=-1&explored=true&limit=7"
        "&since=2026-01-31T09:30:00Z&until=2026-01-31T09:30:00.25Z"
        f"&before_id=01890a5d-ac96-774b-bcce-b302099a8057&request_id=r.1&trace_id={'0a' * 16}&task_id=run%201"
    )
    assert await (await client.get(f"/v1/decisions?{query}")).json() == {
        "policy": "drafts", "arm": "a/b", "session_id": "s 1", "cluster": -1, "explored": True,
        "since_us": 1_769_851_800_000_000, "until_us": 1_769_851_800_250_000,
        "before_id": "01890a5d-ac96-774b-bcce-b302099a8057", "from_id": None, "limit": 7, "reference": None,
        "tag": None, "text": None, "request_id": "r.1", "trace_id": "0a" * 16, "task_id": "run 1",
    }  # fmt: skip


async def test_a_page_is_no_longer_than_the_configuration_allows(serve: Any, daemon: Any) -> None:
    client = await serve(daemon, max_page=20)
    assert (await client.get("/v1/decisions?limit=20")).status == 200
    answer = await client.get("/v1/decisions?limit=21")
    assert answer.status == 422
    assert (await answer.json())["errors"][0]["pointer"] == "limit"


async def test_parameters_of_the_statistics_reach_the_report_service(client: Any) -> None:
    stats = await (await client.get("/v1/stats?policy=p&window_s=3600")).json()
    assert stats == {"policy": "p", "window_s": 3600}
    series = await (await client.get("/v1/stats/timeseries?step_s=600&since=2026-01-31T09:30:00Z")).json()
    assert (series["since"], series["until"], series["step_s"]) == (1_769_851_800_000_000, None, 600)
    snapshots = await (await client.get("/v1/policies/p/snapshots?limit=3")).json()
    assert (snapshots["policy"], snapshots["limit"]) == ("p", 3)
    assert (await (await client.get("/v1/policies/p/report")).json())["policy"] == "p"


async def test_a_tag_is_asked_for_in_one_way_everywhere(client: Any) -> None:
    for path in ("/v1/stats", "/v1/stats/contexts", "/v1/stats/timeseries"):
        assert (await (await client.get(f"{path}?tag=task:a%20b:c")).json())["of"] == "task:a b:c"
        assert (await (await client.get(f"{path}?by=tag:task")).json())["by"] == "task"
        for wrong in ("tag=task", "tag=:x", "by=task", "by=tag:", "by=tag:task&tag=task:x", "tag=a:b&tag=a:c"):
            answer = await client.get(f"{path}?{wrong}")
            assert (answer.status, (await answer.json())["code"]) == (422, "INVALID_INPUT"), wrong
    assert (await (await client.get("/v1/decisions?tag=task:sql")).json())["tag"] == ["task", "sql"]
    answer = await client.get("/v1/decisions?tag=task:")
    assert (answer.status, (await answer.json())["errors"][0]["pointer"]) == (422, "tag")


async def test_a_cluster_is_named_by_its_number(client: Any) -> None:
    named = await client.patch("/v1/contexts/7?policy=p", json={"name": "SQL"})
    assert await named.json() == {"policy": "p", "cluster": 7, "name": "SQL", "name_source": "user"}
    assert (await client.patch("/v1/contexts/7", json={"name": None})).status == 200
    for cluster, body, status in (("x", {"name": "a"}, 404), ("-1", {"name": "a"}, 404), ("7", {}, 422),
                                  ("7", {"name": ""}, 422), ("7", {"nam": "a"}, 422)):  # fmt: skip
        assert (await client.patch(f"/v1/contexts/{cluster}", json=body)).status == status
