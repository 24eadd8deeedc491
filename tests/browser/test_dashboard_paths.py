"""The dashboard's main paths, as a person walks them, in a real browser over a real daemon."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any


def tile(page: Any, label: str) -> Any:
    return page.locator(".tile", has=page.get_by_text(label, exact=True)).locator(".value")


def answered(page: Any) -> None:
    """Wait until all that the page has asked is answered, and what it draws of the answers asks nothing more."""
    calm = 0
    while calm < 5:
        asked = len(page.watched.requests)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 40)))")
        calm = calm + 1 if page.watched.ended == len(page.watched.requests) == asked else 0


def test_a_new_daemon_says_what_to_do_and_shows_what_was_done(fresh, open_page, shot, expect) -> None:
    page = open_page(fresh)
    page.get_by_role("heading", name="Nothing has been asked yet").wait_for()
    shot(page, "first-steps")
    # The command on the page works as it stands, and its query appears without a reload.
    command = page.locator(".command pre").first.inner_text()
    subprocess.run(shlex.split(command.replace("\\\n", " ")), check=True, capture_output=True)
    page.get_by_role("region", name="Latest decisions").locator("tbody tr").first.wait_for()
    expect(tile(page, "Decisions")).to_have_text("1")
    for name, says in (
        ("internals", "Nothing learned yet"),
        ("tasks", "Models by kind of query"),
        ("releases", "Nothing has been released yet"),
        ("models", "Share of traffic"),
    ):
        page.goto(f"{fresh.url}/#/{name}")
        page.get_by_role("heading", name=says).wait_for()


def test_traffic_is_seen_as_it_arrives(taught, open_page, expect) -> None:
    page = open_page(taught)
    shown = tile(page, "Decisions")
    shown.wait_for()
    before = int(shown.inner_text().replace(",", ""))
    taught.teach(9)
    wanted = f"{before + 9:,}"
    page.wait_for_function(
        "text => [...document.querySelectorAll('.tile .value')][0].textContent === text", arg=wanted
    )
    newest = taught.call("GET", "/v1/decisions?limit=1")["decisions"][0]["arm"]
    first = page.get_by_role("region", name="Latest decisions").locator("tbody tr").first
    expect(first).to_contain_text(newest)


def test_paused_it_asks_nothing_and_resumed_it_catches_up(taught, open_page) -> None:
    page = open_page(taught)
    shown = tile(page, "Decisions")
    shown.wait_for()
    page.get_by_role("button", name="Pause").click()
    answered(page)
    asked, before = len(page.watched.requests), shown.inner_text()
    taught.teach(3)
    page.wait_for_timeout(2500)
    assert len(page.watched.requests) == asked
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function(
        "text => [...document.querySelectorAll('.tile .value')][0].textContent !== text", arg=before
    )


def test_a_decision_shows_every_call_that_it_took_and_the_overview_their_sum(taught, open_page, expect) -> None:
    made = taught.call("POST", "/v1/route", {"input": "Name three rivers of Africa."})
    other = made["fallbacks"][0]
    attempts = [
        {"arm": made["arm"], "error": "overload", "latency_ms": 80},
        {"arm": other, "latency_ms": 900, "first_token_ms": 211, "input_tokens": 9, "output_tokens": 37},
    ]
    taught.call("POST", f"/v1/decisions/{made['decision_id']}/usage", {"attempts": attempts})
    page = open_page(taught, f"decisions?id={made['decision_id']}")
    table = page.get_by_role("region", name="Attempts")
    table.wait_for()
    rows = [row.inner_text() for row in table.locator("tbody tr").all()]
    assert [made["arm"] in rows[0], "overload" in rows[0], "80 ms" in rows[0]] == [True] * 3
    assert [other in rows[1], "answered" in rows[1], "211 ms" in rows[1], "37" in rows[1]] == [True] * 4
    page.goto(f"{taught.url}/#/overview")
    calls = page.get_by_role("region", name="Calls of models")
    calls.wait_for()
    for label, value in (("Attempts", "2"), ("Time to first token", "211 ms"), ("Errors", "1")):
        expect(tile(page, label)).to_have_text(value)
    expect(calls.locator("tbody tr")).to_contain_text("overloaded: 1")


def test_a_decision_opens_and_a_thumb_is_learned(taught, open_page, shot) -> None:
    made = taught.call(
        "POST", "/v1/route", {"input": "Prove that there are infinitely many primes.", "tags": {"team": "maths"}}
    )
    page = open_page(taught, "decisions")
    row = page.locator(".log tbody tr").first
    row.get_by_role("button").click()
    whole = page.get_by_role("region", name="One decision")
    whole.get_by_text(made["decision_id"]).wait_for()
    assert made["decision_id"] in page.url
    text = whole.inner_text()
    assert "infinitely many primes" in text
    assert "team: maths" in text
    assert "No reward yet" in text
    logged = taught.call("GET", f"/v1/decisions/{made['decision_id']}")
    for arm in logged["arms"]:
        assert f"{arm['mean']:.3f}" in whole.locator(".scores tr", has_text=arm["arm"]).inner_text()
    assert f"{logged['uniform']:.4f}" in whole.locator(".drawline figcaption").inner_text()
    # The needle stands where the number fell, and only the drawn arm's segment is lit.
    hit = whole.locator(".segment.hit")
    assert hit.locator("title").text_content().startswith(made["arm"])
    whole.get_by_role("button", name="thumb up").click()
    whole.get_by_text("Recorded; the learner folds it in").wait_for()
    whole.get_by_text("Merged and learned").wait_for()
    after = taught.call("GET", f"/v1/decisions/{made['decision_id']}")
    assert [(event["source"], event["reward"]) for event in after["rewards"]] == [("human", 1.0)]
    whole.get_by_role("button", name="thumb up").click()
    whole.get_by_text("counted once").wait_for()
    whole.get_by_role("button", name="thumb down").click()
    whole.get_by_text("it replaces your former thumb").wait_for()
    page.wait_for_function("() => document.querySelector('.thumbs .num')?.textContent === '0.000'")
    shot(page, "decision")
    page.keyboard.press("Escape")
    whole.wait_for(state="detached")
    assert made["decision_id"] not in page.url


def test_the_log_is_filtered_and_paged(taught, open_page) -> None:
    page = open_page(taught, "decisions")
    rows = page.locator(".log tbody tr")
    rows.first.wait_for()
    first = taught.call("GET", "/v1/decisions?policy=default&limit=25")
    older = taught.call("GET", f"/v1/decisions?policy=default&limit=25&before_id={first['next_before_id']}")[
        "decisions"
    ]
    page.get_by_role("button", name="Older").click()
    page.get_by_role("heading", name="Page 2").wait_for()
    page.locator(f'tr[data-id="{older[0]["decision_id"]}"]').wait_for()
    shown = [row.get_attribute("data-id") for row in rows.all()]
    assert shown == [one["decision_id"] for one in older]
    page.get_by_role("button", name="Newest").click()
    page.get_by_role("combobox", name="Model").select_option("code-specialist")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.log tbody tr')].every(row => row.innerText.includes('code-spec'))"
    )
    assert "arm=code-specialist" in page.url
    page.get_by_role("combobox", name="Why").select_option("true")
    matching = taught.call("GET", "/v1/decisions?policy=default&arm=code-specialist&explored=true&limit=25")[
        "decisions"
    ]
    # The page before may have as many rows: wait for the very ones.
    page.wait_for_function(
        "ids => [...document.querySelectorAll('.log tbody tr')].map(row => row.dataset.id).join() === ids.join()",
        arg=[one["decision_id"] for one in matching],
    )
    if not matching:
        page.get_by_text("No decision matches").wait_for()
    page.get_by_role("button", name="Clear").click()
    find = page.get_by_role("searchbox", name="Why did a query go there?")
    find.fill("FRENCH, keep the tone")
    find.press("Enter")
    wanted = taught.call("GET", "/v1/decisions?policy=default&text=french,%20keep&limit=25")["decisions"]
    assert {
        "French" in taught.call("GET", f"/v1/decisions/{one['decision_id']}")["input_text"] for one in wanted[:3]
    } == {True}
    page.wait_for_function(
        "ids => [...document.querySelectorAll('.log tbody tr')].map(row => row.dataset.id).join() === ids.join()",
        arg=[one["decision_id"] for one in wanted],
    )
    find.fill("no such words")
    find.press("Enter")
    page.get_by_text("No stored text has these words").wait_for()
    find.fill(f"chatcmpl-{wanted[0]['decision_id']}")
    find.press("Enter")
    page.get_by_role("region", name="One decision").get_by_text(wanted[0]["decision_id"]).wait_for()


def test_a_price_is_changed_in_place(taught, open_page, shot) -> None:
    page = open_page(taught, "models")
    card = page.get_by_role("article", name="large-reasoner")
    card.get_by_role("button", name="Change the price").click()
    field = card.get_by_label("large-reasoner: $ per million output tokens")
    field.fill("8.5")
    field.press("Enter")
    card.get_by_text("Saved").wait_for()
    card.locator(".price").get_by_text("$8.50").wait_for()
    price = taught.call("GET", "/v1/arms/large-reasoner")["price"]
    assert (price["usd_per_mtok_in"], price["usd_per_mtok_out"], price["usd_per_request"]) == (2.5, 8.5, 0.0)
    card.get_by_role("button", name="Change the price").click()
    field.fill("3")
    field.press("Escape")
    field.wait_for(state="detached")
    assert taught.call("GET", "/v1/arms/large-reasoner")["price"] == price
    shot(page, "arms-price")


def test_an_arm_is_disabled_and_enabled_again(taught, open_page, expect) -> None:
    page = open_page(taught, "models")
    switch = page.get_by_role("switch", name="medium-general enabled")
    try:
        switch.click()
        page.get_by_text("Disabled: it is not chosen any more").wait_for()
        expect(switch).to_have_attribute("aria-checked", "false")
        assert taught.call("GET", "/v1/arms/medium-general")["enabled"] is False
        answer = taught.call("POST", "/v1/route", {"input": "Translate: cat", "dry_run": True, "explain": True})
        assert answer["exclusions"] == {"medium-general": "disabled"}
        switch.click()
        page.get_by_text("Enabled: it may be chosen").wait_for()
        expect(switch).to_have_attribute("aria-checked", "true")
        assert taught.call("GET", "/v1/arms/medium-general")["enabled"] is True
    finally:  # other tests share this daemon
        taught.call("PATCH", "/v1/arms/medium-general", {"enabled": True})


def test_the_playground_previews_commits_and_rewards(taught, open_page, shot, expect) -> None:
    taught.rest()
    page = open_page(taught, "playground")
    before = taught.call("GET", "/v1/stats")["decisions"]
    query = "Prove by induction that n squared is odd for odd n."
    page.get_by_role("textbox", name="Query").fill(query)
    preview = page.get_by_role("region", name="What would happen")
    preview.wait_for()
    asked = taught.call("POST", "/v1/route", {"input": query, "dry_run": True, "explain": True})
    for score in asked["arms"]:
        expect(preview.locator("tr", has_text=score["arm"])).to_contain_text(f"{score['mean']:.3f}")
    assert taught.call("GET", "/v1/stats")["decisions"] == before
    page.get_by_role("button", name="Commit this query").click()
    committed = page.get_by_role("region", name="Committed")
    committed.get_by_role("button", name="thumb up").click()
    committed.get_by_text("merged reward now").wait_for()
    shot(page, "playground-committed")
    committed.get_by_role("button", name="Open the decision").click()
    page.get_by_role("region", name="One decision").get_by_text(query).wait_for()
    assert taught.call("GET", "/v1/stats")["decisions"] == before + 1


def test_the_playground_says_why_no_arm_is_left(taught, open_page, expect) -> None:
    page = open_page(taught, "playground", calm=False)  # the browser reports the 422 by itself
    page.get_by_role("textbox", name="Query").fill("Prove that two is even.")
    page.get_by_label("At most $").fill("0.0000001")
    page.get_by_text("no arm may answer this query").wait_for()
    excluded = page.locator("tr.excluded")
    expect(excluded).to_have_count(len(taught.call("GET", "/v1/arms")["arms"]))
    for row in excluded.all():
        expect(row).to_contain_text("its predicted cost is above the request's limit")


def test_kinds_of_queries_show_who_is_good_at_them_and_why(taught, open_page, expect) -> None:
    taught.rest()
    page = open_page(taught, "tasks")
    page.locator(".heat").wait_for()
    clusters = taught.call("GET", "/v1/stats/contexts")["clusters"]
    largest = max(clusters, key=lambda one: one["decisions"])
    choice = next(
        one for one in taught.call("GET", "/v1/stats/choices")["clusters"] if one["cluster"] == largest["cluster"]
    )
    page.locator(".heat tbody tr").first.get_by_role("button").click()
    assert f"cluster={largest['cluster']}" in page.url
    detail = page.locator("#task")
    detail.locator(".why").wait_for()
    expect(detail.locator(".why")).to_contain_text(choice["arm"])
    expect(page.locator(".heat td.ring")).to_have_count(len(clusters))
    first = page.locator(".heat tbody tr").first
    for cell in largest["arms"]:
        if cell["mean_reward"] is not None:
            expect(first).to_contain_text(f"{cell['mean_reward']:.3f}")


def test_internals_compare_with_fixed_arms_and_map_queries(taught, open_page, expect) -> None:
    taught.rest()
    page = open_page(taught, "learning")  # what the page was called once
    page.locator(".spot").first.wait_for()
    points = taught.call("GET", "/v1/stats/map?limit=400")["points"]
    expect(page.locator(".spot")).to_have_count(len(points))
    standing = page.get_by_role("region", name="Against fixed arms").first
    standing.get_by_text("the policy as played").wait_for()
    learned = taught.call("GET", "/v1/stats/learning")
    for one in learned["fixed"]:
        shown = standing.locator("tr", has_text=f"always {one['arm']}")
        expect(shown).to_contain_text(f"{one['reward']['mean']:.3f}")
    page.get_by_role("button", name="Last 500").click()
    page.get_by_text("the axis counts decisions back from now").wait_for()
    assert page.locator(".plot canvas").count() >= 3


def test_the_theme_is_switched_and_kept(taught, open_page) -> None:
    page = open_page(taught)
    page.get_by_role("button", name="Dark").click()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.reload()
    page.get_by_role("button", name="Light").wait_for()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(ground) != dark


def test_the_first_load_is_small(taught, browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    sizes: dict[str, int] = {}
    page.on(
        "response", lambda answer: sizes.update({answer.url: len(answer.body())}) if answer.status == 200 else None
    )
    page.goto(f"{taught.url}/")
    page.locator(".tile").first.wait_for()
    page.wait_for_timeout(500)
    context.close()
    assert any(url.endswith("/dashboard/app.js") for url in sizes)
    assert sum(sizes.values()) < 300_000, sizes  # uncompressed, data and all


def test_everything_is_reached_by_the_keyboard(taught, open_page) -> None:
    page = open_page(taught)
    page.locator(".tile").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText"))
    assert {"Models", "Good at what", "Decisions", "Try it", "Internals", "Pause", "Dark"} <= reached
    page.get_by_role("link", name="Decisions", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator(".log tbody button").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("region", name="One decision").wait_for()
    page.wait_for_function("() => document.activeElement.innerText === 'Decision'")
    assert re.search(r"id=[0-9a-f-]{36}", page.url)


def test_a_decision_shows_the_task_that_it_is_a_step_of(taught, open_page) -> None:
    plan = taught.call("POST", "/v1/route", {"input": "Plan a journey.", "task_id": "run 42", "step": "plan"})
    act = {"input": "Book it.", "task_id": "run 42", "step": "book", "parent_decision_id": plan["decision_id"]}
    made = taught.call("POST", "/v1/route", act)
    page = open_page(taught, f"decisions?id={made['decision_id']}")
    table = page.get_by_role("region", name="Decisions of the task")
    table.wait_for()
    rows = [row.inner_text() for row in table.locator("tbody tr").all()]
    assert [plan["arm"] in rows[0], "plan" in rows[0], "this one" in rows[1], "book" in rows[1]] == [True] * 4
    assert "plan" in rows[1]  # what it comes after
    page.get_by_role("link", name="run 42").click()
    page.wait_for_url("**/#/decisions?*task_id=run*42*")
    page.wait_for_function("() => document.querySelectorAll('.log tbody tr').length === 2")
