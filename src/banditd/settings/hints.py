"""What is said of a setting that cannot be: pydantic's words, and for an unknown name the nearest known one."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from banditd.core.nearest import names_beside, nearest_names


def problem_line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """One line: where, and what to write instead."""
    where = ".".join(map(str, detail["loc"])) or "(top)"
    if detail["type"] != "extra_forbidden":
        return f"  {where}: {detail['msg'].removeprefix('Value error, ')}"
    known = names_beside(detail["loc"], model)
    near = nearest_names(str(detail["loc"][-1]), known)
    mend = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}" if known else "leave it out"
    return f"  {where}: is no setting; {mend}"
