"""Progress where nobody watches a screen (a pipe, a log, CI): a line now and then in place of a bar."""

from __future__ import annotations

from typing import Any, Final

from rich.progress import Progress, TaskID

LINE_EVERY_S: Final = 10.0
"""What ends sooner says nothing."""


class ProgressLines(Progress):
    """Draws nothing; ``update`` prints a line when none was printed for ``LINE_EVERY_S``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(disable=True, **options)
        self._next_s = self.get_time() + LINE_EVERY_S

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        now_s = self.get_time()
        if now_s < self._next_s:
            return
        self._next_s = now_s + LINE_EVERY_S
        task = self._tasks[task_id]
        line = f"{task.description}: {task.completed:.0f}"
        if task.total:
            line += f" of {task.total:.0f} ({task.completed / task.total:.0%})"
        line += f", after {task.elapsed or 0:.0f} s"
        if task.time_remaining is not None:
            line += f", some {task.time_remaining:.0f} s to go"
        self.console.print(line, markup=False, soft_wrap=True)
