from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Iterator

import pytest

from banditd.obs import logs
from banditd.obs.logs import configure_logging, write_events


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A place to log to; the process's own logging is put back afterwards."""
    root = logging.getLogger()
    kept = list(root.handlers), root.level, logging.getLogger("aiohttp.access").level
    switches = logging.logThreads, logging.logProcesses, logging.logMultiprocessing, logging._srcfile
    yield io.StringIO()
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    logging.getLogger("aiohttp.access").setLevel(kept[2])
    logging.logThreads, logging.logProcesses, logging.logMultiprocessing, logging._srcfile = switches


def test_a_line_is_one_json_object_with_event_context_and_extras(stream: io.StringIO) -> None:
    configure_logging("info", "json", stream)
    token = logs.request_id.set("r-1")
    try:
        logging.getLogger("banditd.x").info("reward.recorded", extra={"revision": 2, "note": "a\nb"})
    finally:
        logs.request_id.reset(token)
    [line] = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert fields["event"] == "reward.recorded"
    assert (fields["level"], fields["logger"]) == ("info", "banditd.x")
    assert (fields["request_id"], fields["revision"], fields["note"]) == ("r-1", 2, "a\nb")
    assert "policy" not in fields
    assert fields["at"].endswith("Z")


@pytest.mark.parametrize("style", ["json", "text"])
def test_content_and_secrets_never_reach_a_line_even_when_passed(stream: io.StringIO, style: str) -> None:
    configure_logging("INFO", style, stream)
    for name in ("input_text", "text", "messages", "prompt", "headers", "authorization", "api_key", "Input"):
        logging.getLogger("banditd.x").info("query.seen", extra={name: "the secret words", "ok": 1})
    assert stream.getvalue().count("query.seen") == 8
    assert "secret words" not in stream.getvalue()


def test_no_value_can_forge_a_second_line_in_text(stream: io.StringIO) -> None:
    configure_logging("INFO", "text", stream)
    logging.getLogger("banditd.x").info("arm.added", extra={"arm": "a\n2026 ERROR forged\x1b[31m"})
    [line] = stream.getvalue().splitlines()
    assert "arm.added" in line
    assert "\\n2026 ERROR forged\\x1b" in line


@pytest.mark.parametrize("style", ["json", "text"])
def test_an_exception_is_kept_with_its_event(stream: io.StringIO, style: str) -> None:
    configure_logging("INFO", style, stream)
    try:
        int("why it broke")
    except ValueError:
        logging.getLogger("banditd.x").exception("request.failed")
    text = stream.getvalue()
    assert "request.failed" in text
    assert "why it broke" in text
    if style == "json":
        assert "ValueError" in json.loads(text)["exception"]


def test_lower_levels_are_dropped_and_configuring_twice_logs_once(stream: io.StringIO) -> None:
    configure_logging("INFO", "json", io.StringIO())
    configure_logging("WARNING", "json", stream)
    logging.getLogger("banditd.x").info("quiet.event")
    logging.getLogger("banditd.x").warning("loud.event")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud.event"]


@pytest.mark.parametrize(("level", "style"), [("LOUD", "json"), ("INFO", "xml")])
def test_an_unknown_level_or_format_is_refused(stream: io.StringIO, level: str, style: str) -> None:
    with pytest.raises(ValueError, match=r"LOUD|xml"):
        configure_logging(level, style, stream)


@pytest.mark.parametrize("style", ["json", "text"])
def test_many_events_in_one_go_read_like_events_logged_one_by_one(stream: io.StringIO, style: str) -> None:
    configure_logging("INFO", style, stream)
    logger = logging.getLogger("banditd.x")
    fields = {"note": "a\nb", "status": 200}
    logger.info("request.answered", extra=fields)
    write_events(logger, logging.INFO, "request.answered", [(time.time(), fields)] * 2)
    one, *others = (re.sub(r"[0-9T:.-]+Z", "AT", line) for line in stream.getvalue().splitlines())
    assert others == [one, one]


def test_a_handler_of_somebody_else_gets_records(stream: io.StringIO) -> None:
    configure_logging("INFO", "json", stream)
    theirs = io.StringIO()
    handler = logging.StreamHandler(theirs)
    handler.setFormatter(logging.Formatter("%(message)s/%(status)s"))
    logging.getLogger().addHandler(handler)
    write_events(logging.getLogger("banditd.x"), logging.INFO, "request.answered", [(0.0, {"status": 7})])
    assert theirs.getvalue() == "request.answered/7\n"
    assert json.loads(stream.getvalue())["at"] == "1970-01-01T00:00:00.000Z"
