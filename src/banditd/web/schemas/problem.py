"""Schemas of errors: RFC 9457 problem details, and their short form inside lists."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from banditd.web.schemas.base import AnswerModel, OpenAnswerModel


class FieldError(AnswerModel):
    """One thing that is wrong with the input."""

    pointer: str
    """JSON pointer into the body, or the name of a parameter or header."""
    message: str
    """What is wrong and how to mend it."""


class Problem(OpenAnswerModel):
    """An RFC 9457 problem. Test ``code``; read ``detail``."""

    type: str
    """A page that explains this kind of problem, relative to the daemon's address."""
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: str
    """The request's id as a URN; the same as the header ``x-request-id``."""
    code: str
    """Stable, upper snake case."""
    errors: list[FieldError]


class ItemError(AnswerModel):
    """A problem of one item of a list."""

    code: str
    detail: str
    errors: list[FieldError]
