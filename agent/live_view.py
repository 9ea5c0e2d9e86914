"""The live picture of a running loop: progress, and the newest decision of each cell."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agent.cell_plan import CellPlan
from agent.control_loop import Turn, initial_plan
from agent.planner import CellDecision
from edge_preprocess.digest import EdgeDigest

_BARS = "▁▂▃▄▅▆▇█"
_GOOD, _FAIR = 0.95, 0.8


class LiveView:
    """A rich display on stderr; a line per episode where no terminal is, quiet where nobody looks."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        console = Console(stderr=True, quiet=is_quiet)
        self._plain = None if console.is_terminal else console
        self._progress = Progress(
            TextColumn("{task.description:28}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._live = Live(self._progress, console=console, refresh_per_second=4, transient=True)
        self._history: dict[int, str] = {}
        self._plans: dict[int, CellPlan] = {}
        """As last decided, to tell what the next ones take away."""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def expect(self, num_turns: int) -> None:
        """Tell how many turns are to come."""
        self._progress.update(self._task, total=num_turns)

    def start(self, planner: str, seed: int) -> None:
        """Name the episode that begins."""
        self._history.clear()
        self._plans.clear()
        self._progress.update(self._task, description=f"{planner} · seed {seed}")
        if self._plain is not None:
            done = self._progress.tasks[self._task].percentage
            self._plain.print(f"{done:3.0f} %  {planner} · seed {seed}", highlight=False)

    def show(self, turn: Turn) -> None:
        """Show one turn."""
        self._progress.advance(self._task)
        self._live.update(Group(self._progress, self._table(turn)))

    def skip(self, num_turns: int) -> None:
        """Count turns that nobody watched."""
        self._progress.advance(self._task, num_turns)
        self._live.update(self._progress)

    def _table(self, turn: Turn) -> Table:
        table = Table(title=f"interval {turn.interval} · {turn.decision.planner}", title_justify="left", expand=False)
        for name in ("cell", "PRB use", "in time per slice", "history", "next shares %", "written by", "why"):
            table.add_column(name)
        for digest, decided in zip(turn.digests, turn.decision.cells, strict=True):
            worst = min((row.in_time_ratio for row in digest.slices), default=1.0)
            self._history[digest.cell] = (self._history.get(digest.cell, "") + _bar(worst))[-24:]
            plan = decided.plan
            table.add_row(
                str(digest.cell) if digest.is_up else f"{digest.cell} down",
                f"{100 * digest.prb_used / digest.num_prb:3.0f} %",
                " ".join(_coloured(row.in_time_ratio) for row in digest.slices),
                self._history[digest.cell],
                "—" if plan is None else " ".join(f"{part.min_pct:2d}" for part in plan.slices),
                decided.source.value,
                "—" if plan is None else self._why(plan, decided, digest),
            )
            self._plans[digest.cell] = plan or self._plan_before(digest)
        return table

    def _plan_before(self, digest: EdgeDigest) -> CellPlan:
        return self._plans.get(digest.cell) or initial_plan(digest.cell, len(digest.slices))

    def _why(self, plan: CellPlan, decided: CellDecision, digest: EdgeDigest) -> str:
        """The plan's reasons, and what makes do without a guarantee from now on."""
        reasons = ", ".join(reason.value for reason in plan.reasons)
        before = self._plan_before(digest)
        lost = [row for row, part in enumerate(before.slices) if part.min_pct > 0 and plan.slices[row].min_pct == 0]
        if not lost:
            return reasons
        is_pool = not any(part.min_pct for part in plan.slices)
        names = "all slices" if is_pool else ", ".join(str(digest.slices[row].slice) for row in lost)
        expected = decided.expected_in_time
        told = (
            ""
            if expected is None
            else f" ({' '.join(f'{100 * expected[row]:.0f}' for row in lost)} % in time expected)"
        )
        return f"{reasons}; {names} without guarantee, {'one pool' if is_pool else 'lent what is idle'}{told}"


def _bar(ratio: float) -> str:
    return _BARS[min(int(ratio * len(_BARS)), len(_BARS) - 1)]


def _coloured(ratio: float) -> str:
    colour = "green" if ratio >= _GOOD else "yellow" if ratio >= _FAIR else "red"
    return f"[{colour}]{100 * ratio:3.0f}[/{colour}]"
