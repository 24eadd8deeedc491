"""Bad states are shown, not hidden; keys are asked for once; nobody is kept out by a page's make."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.browser import answers

from banditd.web.problems import PROBLEM_TYPE

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
AXE_RUN = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  const tell = node => `${node.html.slice(0, 160)} ${node.any[0]?.message || ""}`;
  return found.violations
    .filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => `${one.id}: ${one.nodes.slice(0, 3).map(tell).join(" | ")}`);
}"""
# What sticks out on the right and cannot be scrolled to within its own box.
WIDER = """() => [...document.querySelectorAll("body *")]
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, svg, pre, .skip"))
  .map(one => one.outerHTML.slice(0, 120))
  .concat(document.documentElement.scrollWidth > innerWidth ? ["the page itself"] : [])"""
# Of every page: its heading, and what is there when it is whole.
READY = {
    "overview": ("Overview", ".plot canvas"), "models": ("Models", ".plot canvas"),
    "tasks": ("Good at what", "#task .why"), "decisions": ("Decisions", ".whole .scores"),
    "playground": ("Try it", "textarea"), "internals": ("Internals", ".plot canvas"),
    "judges": ("Judges", ".plot canvas"), "releases": ("Releases", "#way .plot canvas"),
}  # fmt: skip
PAGES = (
    "overview",
    "models",
    "tasks?cluster={cluster}",
    "decisions?id={id}",
    "playground",
    "judges",
    "releases",
    "internals",
)
PHONE = {"width": 360, "height": 780}


def test_a_daemon_that_went_away_and_came_back(taught, open_page, shot, expect) -> None:
    page = open_page(taught, calm=False)
    page.locator(".tile").first.wait_for()
    port = taught.port
    taught.stop()
    banner = page.locator("#banner-unreachable")
    banner.wait_for()
    expect(banner).to_contain_text("The figures below are those of")
    assert page.locator(".tile").count() > 0  # what was known stays readable
    shot(page, "unreachable")
    taught.start(port)
    page.get_by_text("The daemon was restarted and is back").wait_for()
    expect(banner).to_be_hidden()
    expect(page.locator(".live")).to_contain_text("live")


def test_database_trouble_is_named(taught, open_page, shot, expect) -> None:
    page = open_page(taught, calm=False)
    page.locator(".tile").first.wait_for()
    body = {
        "code": "STORAGE_UNAVAILABLE",
        "detail": "the database is locked",
        "status": 503,
        "title": "t",
        "type": "/x",
    }
    page.route(
        "**/v1/**",
        lambda route: route.fulfill(
            status=503, content_type=PROBLEM_TYPE, headers={"Retry-After": "1"}, body=json.dumps(body)
        ),
    )
    banner = page.locator("#banner-unavailable")
    banner.wait_for()
    expect(banner).to_contain_text("The database does not answer")
    expect(banner).to_contain_text("the database is locked")
    shot(page, "database")
    page.unroute("**/v1/**")
    banner.wait_for(state="detached")


def test_clocks_that_differ_are_noticed(taught, open_page, expect) -> None:
    page = open_page(taught, calm=False)
    page.locator(".tile").first.wait_for()
    assert not page.locator("#banner-skew").is_visible()
    page.add_init_script("const real = Date.now; Date.now = () => real() - 7_200_000;")
    page.reload()
    banner = page.locator("#banner-skew")
    banner.wait_for()
    expect(banner).to_contain_text("2.0 h behind")
    # Ages follow the daemon's clock all the same.
    taught.teach(1)
    page.get_by_text("newest now").or_(page.get_by_text(" s ago")).first.wait_for()


def test_a_key_is_asked_for_once_and_its_scope_is_said(locked, open_page, shot, expect) -> None:
    daemon, keys = locked
    made = daemon.teach(6)
    page = open_page(daemon, calm=False)
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    shot(page, "key")
    dialog.get_by_label("Key").fill("wrong")
    dialog.get_by_role("button", name="Use this key").click()
    page.get_by_text("does not know the key").first.wait_for()
    dialog.get_by_label("Key").fill(keys.reader)
    dialog.get_by_role("button", name="Use this key").click()
    page.locator(".tile").first.wait_for()
    expect(dialog).to_be_hidden()
    page.reload()
    page.locator(".tile").first.wait_for()
    expect(dialog).to_be_hidden()
    stores = page.evaluate("[JSON.stringify(localStorage), document.cookie, location.href].join()")
    assert keys.reader not in stores
    page.goto(f"{daemon.url}/#/decisions?id={made[0]['decision_id']}")
    page.get_by_role("button", name="thumb up").click()
    banner = page.locator("#banner-scope")
    banner.wait_for()
    expect(banner).to_contain_text("reward")
    banner.get_by_role("button", name="Use another key").click()
    dialog.get_by_label("Key").fill(keys.admin)
    dialog.get_by_role("button", name="Use this key").click()
    page.get_by_role("button", name="thumb up").click()
    page.get_by_text("Recorded; the learner folds it in").wait_for()


def answer_for_judges_and_releases(page: Any) -> None:
    """A judge that has scored for months, and a release on its way."""
    releases, points, events = answers.release(time.time_ns() // 1000, drop=0.06)
    for path, body in (
        ("**/v1/judges", answers.judges()), ("**/v1/releases?**", releases), ("**/points", points),
        ("**/events", events), ("**/candidates", answers.candidates()),
    ):  # fmt: skip
        page.route(path, answers.answering(body))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_keeps_anybody_out(taught, open_page, shot, theme) -> None:
    """axe finds nothing serious on any page, with a decision and a kind of query opened, and nothing is wider than a
    phone; each is kept as a picture, from a desk and from a phone."""
    page = open_page(taught, theme=theme, bypass_csp=True)
    answer_for_judges_and_releases(page)
    newest = taught.call("GET", "/v1/decisions?limit=1")["decisions"][0]
    found: dict[str, Any] = {}
    wide: dict[str, Any] = {}
    for where in PAGES:
        name = where.split("?")[0]
        heading, ready = READY[name]
        page.set_viewport_size({"width": 1360, "height": 900})
        page.goto(f"{taught.url}/#/{where.format(id=newest['decision_id'], cluster=newest['cluster'])}")
        page.get_by_role("heading", level=1, name=heading).wait_for()
        page.locator(ready).first.wait_for()
        if name == "playground":
            page.get_by_role("textbox", name="Query").fill("Prove that the square root of two is irrational.")
            page.locator("#preview").wait_for()
        for question in page.locator(".ask").all()[:1]:
            question.click()
        page.wait_for_timeout(150)
        shot(page, f"{name}-{theme}")
        if "axe" not in page.evaluate("Object.keys(window).filter(name => name === 'axe')"):
            page.add_script_tag(path=AXE)
        found[where] = page.evaluate(AXE_RUN)
        page.set_viewport_size(PHONE)
        page.wait_for_timeout(150)  # for the charts, which follow
        shot(page, f"{name}-{theme}-phone")
        wide[where] = page.evaluate(WIDER)
    assert {where: one for where, one in found.items() if one} == {}
    assert {where: one for where, one in wide.items() if one} == {}
