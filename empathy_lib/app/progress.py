"""One line for each notebook: live on a terminal, plain elsewhere.

Knows: rich's progress bars, when a plain line is due. Does not know: how a notebook is executed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_PLAIN_LINE_SECONDS = 60


@dataclass
class ProgressLines:
    """One line per notebook: live on a terminal, else a plain line at its start and end and one a minute
    between."""

    console: Console
    live: Progress = field(init=False)
    _task: TaskID = field(init=False)
    _name: str = ""
    _cells: int = 0
    _done: int = 0
    _started: float = 0.0
    _printed: float = 0.0

    def __post_init__(self) -> None:
        columns = (
            TextColumn("{task.description:<26}"),
            BarColumn(24),
            TextColumn("{task.fields[state]:<16}"),
            TimeElapsedColumn(),
        )
        self.live = Progress(*columns, console=self.console, disable=not self.console.is_terminal)

    def start(self, name: str, cells: int) -> None:
        """A notebook with so many code cells begins."""
        self._name, self._cells, self._done = name, cells, 0
        self._started = self._printed = time.monotonic()
        self._task = self.live.add_task(name, total=cells, state="starting kernel")
        self._plain("started")

    def cell(self, **_: Any) -> None:
        """The next code cell begins (nbclient's hook ``on_cell_execute``)."""
        self._done += 1
        self.live.update(self._task, completed=self._done - 1, state=f"cell {self._done}/{self._cells}")
        if time.monotonic() - self._printed >= _PLAIN_LINE_SECONDS:
            self._plain(f"cell {self._done}/{self._cells}")

    def end(self, outcome: str) -> None:
        """The notebook has ended: ``done``, or ``failed`` or ``interrupted`` in the cell that was running."""
        whole = outcome == "done"
        state = outcome if whole else f"{outcome}, cell {self._done}/{self._cells}"
        self.live.update(self._task, completed=self._cells if whole else self._done, state=state)
        self.live.stop_task(self._task)
        self._plain(f"{state}, {self._cells} cells" if whole else state)

    def _plain(self, state: str) -> None:
        if self.live.disable:
            self._printed = time.monotonic()
            elapsed = timedelta(seconds=round(self._printed - self._started))
            self.console.print(
                f"{self._name}: {state}, {elapsed}", markup=False, highlight=False, soft_wrap=True
            )
