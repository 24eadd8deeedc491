"""A newcomer's ten questions, each asked on the page where it arises: one click, and a sentence answers it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from tests.browser import answers

COLOURS = """() => Object.fromEntries([...document.querySelectorAll("article")]
  .map(one => [one.getAttribute("aria-label"), one.querySelector(".dot").className]))"""


def ask(page: Any, question: str) -> Any:
    """Press it; what is answered."""
    page.get_by_role("button", name=question, exact=True).click()
    answer = page.locator(".answer")
    answer.wait_for()
    return answer


def roll_out(page: Any, step: str, yes: str) -> None:
    page.get_by_role("group", name="Traffic that is routed").get_by_role("button", name=step, exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=yes, exact=True).click()
    page.get_by_role("dialog").wait_for(state="detached")


def test_what_it_saved_lost_tries_and_whether_to_trust_it(taught, open_page, expect, shot) -> None:
    taught.rest()
    page = open_page(taught)
    short = page.get_by_role("region", name="In short")
    short.wait_for()
    page.get_by_role("button", name="All", exact=True).first.click()  # the whole life, as asked for below
    said = taught.call("GET", "/v1/savings")
    expect(short.locator(".lead")).to_have_text(said["headline"].replace(" %", "\u00a0%"))
    words = said["words"]
    for question, sentence in (
        ("What did I save?", words["saved"]),
        ("What did I lose?", words["lost"]),
        ("Is it exploring, and what does that cost?", words["exploration"]),
        ("Can I trust it?", words["confidence"]),
    ):
        assert len(sentence) > 20, question
        expect(ask(page, question)).to_contain_text(sentence)
    assert said["baseline"] in short.inner_text()
    shot(page, "questions")


def test_how_to_roll_out_five_per_cent_and_how_to_stop(taught, open_page, expect) -> None:
    promise = taught.call("GET", "/v1/promise")
    baseline = promise["baseline"]
    page = open_page(taught)
    expect(ask(page, "How do I roll out 5 %?")).to_contain_text(f"{baseline} answers the rest")
    expect(ask(page, "How do I stop?")).to_contain_text(f"everything goes to {baseline}")
    try:
        # Nothing happens before it is confirmed.
        page.get_by_role("group", name="Traffic that is routed").get_by_role("button", name="None").click()
        page.get_by_role("button", name="Cancel").click()
        assert taught.call("GET", "/v1/promise")["rollout"] == promise["rollout"]
        roll_out(page, "None", "Stop routing")
        page.get_by_text(f"Stopped: everything goes to {baseline}.").wait_for()
        assert taught.call("GET", "/v1/promise")["rollout"] == 0
        queries = [{"input": f"Translate the number {n} into Greek."} for n in range(12)]
        made = taught.call("POST", "/v1/route/batch", {"queries": queries})["results"]
        assert {one["decision"]["arm"] for one in made} == {baseline}
        page.goto(f"{taught.url}/#/decisions?id={made[0]['decision']['decision_id']}")
        expect(ask(page, "Why did this query go there?")).to_contain_text("everything goes to the baseline")
        page.goto(f"{taught.url}/#/overview")
        roll_out(page, "5 %", "Route 5 %")
        page.get_by_text("5 % of the traffic is routed").wait_for()
        assert taught.call("GET", "/v1/promise")["rollout"] == 0.05
        roll_out(page, "All", "Route all")
        page.get_by_text("All traffic is routed.").wait_for()
    finally:  # the other tests share this daemon
        taught.call("PATCH", "/v1/policies/default", {"rollout": promise["rollout"]})


def test_what_is_promised_is_changed_in_place(taught, open_page, expect) -> None:
    before = taught.call("GET", "/v1/promise")
    page = open_page(taught)
    figure = page.get_by_role("group", name="Promise")
    figure.get_by_role("button", name=re.compile("Change it|Make a promise")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Keep at least (%)").fill("97.5")
    dialog.get_by_role("button", name="Promise it").click()
    dialog.wait_for(state="detached")
    expect(figure).to_contain_text("to keep 97.5 %")
    assert taught.call("GET", "/v1/promise")["keep"] == 0.975
    taught.call("PATCH", "/v1/policies/default", {"promise": {"keep": before["keep"]} if before["on"] else None})


def test_which_model_is_good_at_what_in_the_users_words(taught, open_page, expect) -> None:
    taught.rest()
    page = open_page(taught, "tasks")
    answer = ask(page, "Which model is good at what?")
    expect(answer).to_contain_text("Best so far: ")
    page.get_by_label("Rows are").select_option("best")
    page.get_by_role("heading", name="Models by best").wait_for()
    groups = taught.call("GET", "/v1/stats/contexts?by=tag:best")["groups"]
    expect(page.locator(".heat tbody tr")).to_have_count(len(groups))
    for group in groups:
        row = page.locator(".heat tbody tr", has=page.get_by_role("button", name=group["value"], exact=True))
        for cell in group["arms"]:
            if cell["mean_reward"] is not None:
                expect(row).to_contain_text(f"{cell['mean_reward']:.3f}")
    expect(ask(page, "Which model is good at what?")).to_contain_text("code-specialist at “code-specialist”")
    page.locator(".heat tbody").get_by_role("button", name="code-specialist").click()
    wanted = taught.call("GET", f"/v1/decisions?limit=25&tag={quote('best:code-specialist')}")["decisions"]
    page.wait_for_function(
        "ids => [...document.querySelectorAll('.log tbody tr')].map(row => row.dataset.id).join() === ids.join()",
        arg=[one["decision_id"] for one in wanted],
    )
    page.get_by_role("searchbox", name="Why did a query go there?").press("Enter")  # its own words for the filter
    assert f"tag={quote('best:code-specialist', safe='')}" in page.url


def test_which_queries_are_hard_and_which_model_is_able(taught, open_page, expect, shot) -> None:
    taught.rest()
    found = taught.call("GET", "/v1/stats/abilities")
    able, hard = found["arms"][0], found["clusters"][0]
    page = open_page(taught, "tasks")
    percent = f"{100 * able['expected_reward']:.0f} %"
    expect(ask(page, "Which model is the ablest?")).to_contain_text(
        f"{able['arm']}: on the same mix of queries it scores {percent}"
    )
    said = f"the average model scores {100 * hard['expected_reward']:.0f} %" if hard["interval"][0] > 0 else "No kind"
    expect(ask(page, "Which queries are hard?")).to_contain_text(said)
    for title, rows in (("How hard each kind is", found["clusters"]), ("How able each model is", found["arms"])):
        shown = page.get_by_role("region", name=title).first.locator("tbody tr")
        expect(shown).to_have_count(sum(row["expected_reward"] is not None for row in rows))
        expect(shown.first).to_contain_text(f"± {rows[0]['standard_error']:.2f}")
    shot(page, "abilities")


def test_a_kind_of_query_gets_a_name(taught, open_page, expect) -> None:
    cluster = max(taught.call("GET", "/v1/stats/contexts")["clusters"], key=lambda one: one["decisions"])
    page = open_page(taught, f"tasks?cluster={cluster['cluster']}")
    page.get_by_role("button", name="Name it").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Café <questions>")
    dialog.get_by_role("button", name="Call it so").click()
    page.get_by_role("button", name="Café <questions>").wait_for()
    found = taught.call("GET", "/v1/stats/contexts")["clusters"]
    assert ("Café <questions>", "user") in [(one["name"], one["name_source"]) for one in found]
    page.get_by_role("button", name="Name it").click()
    dialog.get_by_label("Name").fill("")
    dialog.get_by_role("button", name="Give up its name").click()
    expect(page.get_by_role("button", name="Café <questions>")).to_have_count(0)


def test_why_a_query_went_there(taught, open_page, expect) -> None:
    made = taught.call("POST", "/v1/route", {"input": "Prove that there is no largest even number."})
    page = open_page(taught, f"decisions?id={made['decision_id']}")
    answer = ask(page, "Why did this query go there?")
    expect(answer).to_contain_text(f"{made['arm']} was chosen ")
    assert re.search(r"was chosen (because|to learn|by) .{20,}\.$", answer.inner_text().strip())


def test_how_to_change_a_price_and_to_add_and_remove_a_model(taught, open_page, expect) -> None:
    page = open_page(taught, "models")
    expect(ask(page, "How do I change a price?")).to_contain_text("Press “Change” beside the price")
    page.locator(".answer").get_by_role("button").click()
    page.locator(".price-form").wait_for()
    page.keyboard.press("Escape")
    expect(ask(page, "How do I remove a model?")).to_contain_text("press “Remove”")
    expect(ask(page, "How do I add a model?")).to_contain_text("Press “Add a model”")
    page.locator(".answer").get_by_role("button", name="Add a model").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("tiny")
    dialog.get_by_label("$ per million tokens in").fill("0.02")
    dialog.get_by_label("$ per million tokens out").fill("0.05")
    dialog.get_by_role("button", name="Add it").click()
    page.get_by_role("article", name="tiny").wait_for()
    price = taught.call("GET", "/v1/arms/tiny")["price"]
    assert (price["usd_per_mtok_in"], price["usd_per_mtok_out"]) == (0.02, 0.05)
    before = page.evaluate(COLOURS)
    assert len(set(before.values())) == len(before)
    page.get_by_role("button", name="Remove medium-general").click()
    dialog.get_by_role("button", name="Remove it").click()
    expect(page.get_by_role("article", name="medium-general")).to_have_count(0)
    # Nobody's colour moved up into the gap.
    after = page.evaluate(COLOURS)
    assert after == {name: colour for name, colour in before.items() if name != "medium-general"}
    page.goto(f"{taught.url}/#/overview")
    gone = page.get_by_role("region", name="Against always one model").first.locator("tr", has_text="medium-general")
    gone.wait_for()
    assert gone.locator(".dot").get_attribute("class") == before["medium-general"]


def test_budgets_and_choices_are_told_in_words(taught, open_page) -> None:
    """The words of every kind of choice, and whether a budget changes it: of figures that a log seldom has."""
    page = open_page(taught)
    page.locator(".tile").first.wait_for()
    rows = [
        {"arm": "a", "mean": 0.9, "deviation": 0.01, "penalty": 0.1, "probability": 0.2},
        {"arm": "b", "mean": 0.5, "deviation": 0.01, "penalty": 0.0, "probability": 0.8},
    ]
    plain = {"reason": "policy", "explored": False, "degraded": None, "propensity": 0.8, "arms": rows}
    cases = {
        "best guess": plain | {"arm": "a"},
        "tried to learn": plain | {"arm": "b", "explored": True},
        "baseline, to be safe": plain | {"arm": "b", "baseline": "b", "keep": 0.95},
        "not rolled out": plain | {"arm": "b", "baseline": "b", "promise": {"rollout": 0.05, "side": "baseline"}},
        "same conversation": plain | {"arm": "b", "reason": "session"},
        "asked for": plain | {"arm": "b", "reason": "pinned"},
        "baseline (shadow)": plain | {"arm": "b", "reason": "shadow", "baseline": "b"},
    }
    told = page.evaluate(
        """async (cases) => {
          const words = await import(new URL("dashboard/words.js", document.baseURI));
          return cases.map((one) => [words.kindOf(one)[0], words.why(one)]);
        }""",
        list(cases.values()),
    )
    assert [kind for kind, _ in told] == list(cases)
    because = dict(told)
    assert because["best guess"] == (
        "a was chosen because it promised the most for queries like this: 0.800 after its cost, 0.300 more than b."
    )
    assert "so that the promise is kept" in because["baseline, to be safe"]
    assert "because 5 % of the traffic is routed" in because["not rolled out"]
    assert "the policy only watches" in because["baseline (shadow)"]
    assert len({*because.values()}) == len(because)
    budget = {"stopped": False, "at_stop": "cheapest", "price_per_usd": 0.0}
    kinds = [budget, budget | {"price_per_usd": 12.5}, budget | {"price_per_usd": None}, budget | {"stopped": True}]
    steers = page.evaluate(
        """async (budgets) => {
          const words = await import(new URL("dashboard/words.js", document.baseURI));
          return budgets.map((one) => words.steering(one)[1]);
        }""",
        kinds,
    )
    assert steers[0].startswith("It does not steer")
    # Twelve and a half of reward for a dollar is .0125 for a tenth of a cent.
    assert steers[1] == "It steers now: a model that costs $0.0010 more must promise 0.013 more reward to be chosen."
    assert steers[2] == "Nothing was charged to it yet."
    assert steers[3] == "Used up: everything goes to the cheapest model."


def test_how_a_release_stands_in_words_and_figures(taught, open_page, expect) -> None:
    path = "/v1/policies/default/candidates"
    taught.call("POST", path, {"name": "even", "settings": {"exploration_floor": 0.05}})
    begun = taught.call("POST", "/v1/releases", {"candidate": "even", "steps": [0.05, 1.0]})
    try:
        card = open_page(taught).get_by_role("region", name="Release of even")
        expect(card).to_contain_text("even decides 5 % of the traffic (step 1 of 2).")
        expect(card.get_by_role("row")).to_have_count(4)  # a head, rewards, errors and refusals
    finally:
        taught.call("POST", f"/v1/releases/{begun['release_id']}/abort")
    expect(card).to_contain_text("was aborted")


def test_a_release_is_watched_and_aborted_with_a_reason(taught, open_page, expect, shot) -> None:
    path = "/v1/policies/default/candidates"
    taught.call("POST", path, {"name": "curious", "settings": {"exploration_floor": 0.04}})
    page = open_page(taught, "releases", calm=False)  # the browser notes that a step was refused
    page.get_by_role("region", name="Candidates").get_by_role("button", name="Release curious").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It decides 1 % of the traffic")
    dialog.get_by_role("button", name="Begin").click()
    card = page.get_by_role("region", name="Release of curious")
    expect(card).to_contain_text("curious decides 1 % of the traffic (step 1 of 5).")
    page.locator("#way .plot canvas").first.wait_for()
    card.get_by_role("button", name="Next step").click()
    dialog.get_by_role("button", name="Take the next step").click()
    expect(dialog).to_contain_text("is not over")  # the daemon's own words, and nothing has happened
    dialog.get_by_label("although this step is not over").check()
    dialog.get_by_role("button", name="Take the next step").click()
    expect(card.locator("[aria-current=step]")).to_have_text("5 %")
    card.get_by_role("button", name="Abort").click()
    dialog.get_by_label("Reason").fill("complaints")
    dialog.get_by_role("button", name="Abort").click()
    expect(card).to_contain_text("was aborted: complaints")
    expect(page.get_by_role("region", name="What happened").last).to_contain_text("complaints")
    shot(page, "release-aborted")
    [newest] = taught.call("GET", "/v1/releases?limit=1")["releases"]
    told = taught.call("GET", f"/v1/releases/{newest['release_id']}/events")["events"]
    assert [(one["event"], one["reason"]) for one in told] == [
        ("started", None), ("promoted", None), ("aborted", "complaints"),
    ]  # fmt: skip


def test_how_a_judge_stands_in_words_and_figures(taught, open_page, expect, shot) -> None:
    page = open_page(taught, "judges")
    page.get_by_role("heading", name="No judge scores answers here").wait_for()
    found = answers.judges()
    page.route("**/v1/judges", answers.answering(found))
    page.reload()
    judge = page.get_by_role("region", name="Judge quality")
    expect(judge.locator(".badge").first).to_have_text("trusted")
    expect(judge).to_contain_text("Of all answers they would say")
    expect(judge.get_by_role("region", name="Scores of quality by model").get_by_role("row")).to_have_count(4)
    expect(judge.get_by_role("region", name="Probes", exact=True)).to_contain_text("$0.40 of $2.00 today")
    pairs = judge.get_by_role("region", name="Is large-reasoner's answer better?")
    expect(pairs).to_contain_text("not known yet")
    expect(pairs).to_contain_text("at equal length")
    shot(page, "judges")
    found["judges"][0] |= {"counts": False, "trust": "Not trusted, its scores do not teach: it favours a."}
    expect(judge.locator(".badge").first).to_have_text("not trusted")
    expect(judge).to_contain_text("it favours a.")


def test_of_many_values_of_a_tag_the_busiest_are_shown_until_all_are_wanted(taught, open_page, expect, shot) -> None:
    for number in range(23):
        for _ in range(2 if number == 22 else 1):
            tags = {"desk": f"desk {number:02}"} | ({"floor": f"floor {number:02}"} if number < 20 else {})
            taught.call("POST", "/v1/route", {"input": "Sum this up.", "tags": tags})
    page = open_page(taught)
    chosen = page.locator("label.pick", has_text="by").locator("select")
    chosen.select_option("floor")
    card = page.get_by_role("region", name="Saved and lost by floor")
    expect(card.locator("tbody tr")).to_have_count(20)
    expect(page.get_by_text("The same figures for every value of your tag.")).to_be_visible()
    expect(page.get_by_role("button", name="Show all values", exact=True)).to_have_count(0)
    chosen.select_option("desk")
    card = page.get_by_role("region", name="Saved and lost by desk")
    expect(card.locator("tbody tr")).to_have_count(20)
    expect(card.locator("tbody tr").first).to_contain_text("desk 22")
    page.get_by_role("button", name="Show all values", exact=True).click()
    expect(card.locator("tbody tr")).to_have_count(23)
    shot(page, "all values of a tag")
    expect(page.get_by_role("button", name="Show all values", exact=True)).to_have_count(0)
