from __future__ import annotations

import io
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from banditd.core.errors import NotFoundError
from banditd.obs import log_writer, logs
from banditd.obs.logs import configure_logging, write_events
from banditd.obs.outline import describe


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A place to log to; the process's own logging is put back afterwards."""
    root = logging.getLogger()
    ours = logging.getLogger("banditd")
    kept = list(root.handlers), root.level, ours.level
    switches = logging.logThreads, logging.logProcesses, logging.logMultiprocessing, logging._srcfile
    yield io.StringIO()
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    ours.setLevel(kept[2])
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


def broken(text: str) -> None:
    try:
        int(text)
    except ValueError as error:
        raise RuntimeError(f"with {text}") from error


@pytest.mark.parametrize("style", ["json", "text"])
def test_an_exception_is_kept_with_its_kinds_and_places_but_without_its_text(stream: io.StringIO, style: str) -> None:
    configure_logging("INFO", style, stream)
    try:
        broken(f"words {1} customer")
    except RuntimeError:
        logging.getLogger("banditd.x").exception("request.failed")
    text = stream.getvalue()
    for kept in ("request.failed", "ValueError", "RuntimeError", "in broken"):
        assert kept in text
    assert "words 1 customer" not in text  # a line of code may be there


def test_what_exceptions_say_of_themselves_is_only_what_is_harmless() -> None:
    import sqlite3

    from sqlalchemy.exc import IntegrityError

    inner = sqlite3.IntegrityError("UNIQUE failed: secret")
    inner.sqlite_errorname = "SQLITE_CONSTRAINT"
    for error, said in (
        (ValueError("secret"), "ValueError"),
        (
            NotFoundError("policy default has no arm x"),
            "banditd.core.errors.NotFoundError: policy default has no arm x",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/secret"),
            "FileNotFoundError: No such file or directory",
        ),
        (OSError("secret"), "OSError"),
        (
            IntegrityError("select 'secret'", {"text": "secret"}, inner),
            "sqlalchemy.exc.IntegrityError: SQLITE_CONSTRAINT",
        ),
        (ExceptionGroup("secret", [KeyError("secret")]), "ExceptionGroup: KeyError"),
    ):
        assert describe(error) == said


LIBRARIES = (
    "aiohttp.server", "aiohttp.access", "aiohttp.web", "aiohttp.internal", "asyncio", "sqlalchemy.engine.Engine",
    "sqlalchemy.pool", "apscheduler.executors.default", "alembic.runtime.migration", "py.warnings", "urllib3", "root",
    "banditdx", "opentelemetry.sdk.trace.export", "aiosqlite",
)  # fmt: skip


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_no_word_of_a_library_is_logged(stream: io.StringIO, style: str, level: str, name: str) -> None:
    configure_logging("DEBUG", style, stream)
    library = logging.getLogger(name)
    before = library.level
    library.setLevel("DEBUG")  # as somebody who looks for a fault may do
    number = logging.getLevelName(level)
    try:
        library.log(number, "header x-api-key: SECRET")
        library.log(
            number, "got %s and %r", "SECRET", {"Authorization": "Bearer SECRET"}, extra={"url": "/?k=SECRET"}
        )
        library.log(number, {"a": "SECRET"})
        library.log(number, "too few %s %s", "SECRET")
        library.log(number, "SECRET", exc_info=ValueError("SECRET"), stack_info=True)
        library.log(number, "Task exception was never retrieved\nfuture: <Task SECRET>", exc_info=KeyError("SECRET"))
    finally:
        library.setLevel(before)
    assert "SECRET" not in stream.getvalue()
    assert stream.getvalue().count("library.logged") == 6
    assert "Task exception was never retrieved" in stream.getvalue()


def test_libraries_are_silent_below_a_warning_whatever_our_own_level(stream: io.StringIO) -> None:
    configure_logging("DEBUG", "json", stream)
    logging.getLogger("alembic.runtime.migration").info("Context impl SQLiteImpl.")
    logging.getLogger("banditd.x").debug("our.event")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["our.event"]


def test_a_record_that_cannot_be_formatted_is_not_printed(stream: io.StringIO, capsys: Any) -> None:
    configure_logging("INFO", "json", stream)
    logging.getLogger("banditd.x").warning("event %d", "SECRET")
    assert stream.getvalue() == ""
    assert logs.dropped_lines() == 1
    assert "SECRET" not in "".join(capsys.readouterr())


def test_a_pipe_that_nobody_reads_stops_nobody_and_what_is_lost_is_counted(stream: io.StringIO) -> None:
    reading, writing = os.pipe()
    lines = log_writer.MAX_LINES + 5_000
    with os.fdopen(writing, "w") as pipe, os.fdopen(reading, "rb") as other_end:
        configure_logging("INFO", "json", pipe)
        [handler] = logging.getLogger().handlers
        for number in range(lines):  # ends although nobody reads
            logging.getLogger("banditd.x").info("event.seen", extra={"number": number})
        assert logs.dropped_lines() >= 2_000  # the pipe and the writer's hands hold some, fewer than these
        read: list[dict[str, Any]] = []
        while len(read) < lines - logs.dropped_lines():
            read.append(json.loads(other_end.readline()))
        logging.getLogger("banditd.x").info("event.last")
        while read[-1]["event"] != "event.last":
            read.append(json.loads(other_end.readline()))
        told = sum(line["lines"] for line in read if line["event"] == "log.dropped")
        assert told == logs.dropped_lines()
        assert sum(line["event"] == "event.seen" for line in read) == lines - told
        configure_logging("INFO", "json", stream)
        assert handler not in logging.getLogger().handlers


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
