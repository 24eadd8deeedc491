from __future__ import annotations

from typing import Any

PRICE = {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0, "usd_per_request": 0.0, "usd_per_mtok_cached_in": None}
ARM = {
    "arm": "vendor/new-1", "upstream_model": "new-1-2026", "provider": "vendor",
    "price": {"usd_per_mtok_in": 1.0, "usd_per_mtok_out": 2.0}, "capabilities": ["vision", "tools"],
    "context_window_tokens": 8000, "quality_prior": 0.7, "prior_worth": 5, "max_share": 0.5,
    "quality_tier": "premium",
    "onboarding_decisions": 3, "onboarding_usd": 0,
}  # fmt: skip


async def test_an_arm_is_added_found_changed_and_deleted(client: Any) -> None:
    added = await client.post("/v1/arms", json=ARM)
    assert added.status == 201
    assert added.headers["Location"] == "/v1/arms/vendor%2Fnew-1?policy=default"
    body = await added.json()
    for name, value in ARM.items():
        if name not in {"price", "capabilities"}:
            assert body[name] == value, name
    assert body["capabilities"] == ["tools", "vision"]
    assert body["price"] == {
        "usd_per_mtok_in": 1.0,
        "usd_per_mtok_out": 2.0,
        "usd_per_request": 0.0,
        "usd_per_mtok_cached_in": None,
    }
    for path in ("/v1/arms/vendor/new-1", "/v1/arms/vendor%2Fnew-1"):
        assert (await (await client.get(path)).json())["arm"] == "vendor/new-1"
    listed = await (await client.get("/v1/arms")).json()
    assert [arm["arm"] for arm in listed["arms"]] == ["vendor/new-1"]
    patched = await client.patch("/v1/arms/vendor/new-1", json={"price": {"usd_per_mtok_out": 9}, "enabled": False})
    body = await patched.json()
    assert patched.status == 200
    assert body["price"] == {
        "usd_per_mtok_in": 1.0,
        "usd_per_mtok_out": 9.0,
        "usd_per_request": 0.0,
        "usd_per_mtok_cached_in": None,
    }
    assert body["enabled"] is False
    assert body["quality_prior"] == 0.7
    assert (await client.delete("/v1/arms/vendor/new-1")).status == 204
    assert (await client.get("/v1/arms/vendor/new-1")).status == 404


async def test_a_field_may_be_patched_to_null_where_null_means_something(client: Any) -> None:
    await client.post("/v1/arms", json=ARM)
    answer = await client.patch("/v1/arms/vendor/new-1", json={"quality_prior": None})
    assert (await answer.json())["quality_prior"] is None
    answer = await client.patch("/v1/arms/vendor/new-1", json={"quality_tier": "frontier"})
    assert (await answer.json())["quality_tier"] == "frontier"
    answer = await client.patch("/v1/arms/vendor/new-1", json={"quality_tier": None})
    assert (await answer.json())["quality_tier"] is None
    assert (await client.patch("/v1/arms/vendor/new-1", json={"enabled": None})).status == 422
    assert (await client.patch("/v1/arms/vendor/new-1", json={})).status == 422
    assert (await client.patch("/v1/arms/vendor/new-1", json={"arm": "renamed"})).status == 422


async def test_an_arm_without_an_upstream_is_called_by_its_own_name(client: Any) -> None:
    body = await (await client.post("/v1/arms", json={"arm": "plain"})).json()
    assert body["upstream_model"] == "plain"
    again = await client.post("/v1/arms", json={"arm": "plain"})
    assert (again.status, (await again.json())["code"]) == (409, "ARM_EXISTS")


async def test_bad_arms_are_refused_by_field(client: Any) -> None:
    for body, pointer in (
        ({"arm": "a b"}, "/arm"),
        ({"arm": "a", "price": {"usd_per_mtok_in": -1}}, "/price/usd_per_mtok_in"),
        ({"arm": "a", "price": {"usd_per_mtok": 1}}, "/price/usd_per_mtok"),
        ({"arm": "a", "max_share": 0}, "/max_share"),
        ({"arm": "a", "prior_worth": 0}, "/prior_worth"),
        ({"arm": "a", "quality_tier": "splendid"}, "/quality_tier"),
    ):
        answer = await client.post("/v1/arms", json=body)
        assert answer.status == 422, body
        assert (await answer.json())["errors"][0]["pointer"] == pointer
