"""The case study's table and plots: what was trained, set beside memory and virtual time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sfl_finetune.clock import Party, Timeline, round_seconds, step_timeline
from sfl_finetune.schemes import Scheme, scheme_named
from sfl_finetune.workload import count_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from sfl_finetune.anatomy import Anatomy
    from sfl_finetune.case_study import Trajectory
    from sfl_finetune.devices import Channel, Device
    from sfl_finetune.memory import SideMemory, StepShape

_COLOURS = {
    "forward": "#4878a8",
    "uplink": "#e0a030",
    "waiting": "#dddddd",
    "server": "#b04040",
    "downlink": "#e8c878",
    "backward": "#88aacc",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table."""

    scheme: str
    dealing: str
    server_mib: float
    client_mib: float | None
    """The client that needs most; None where clients compute nothing."""
    mib_per_round: float
    """All clients, both directions."""
    seconds_per_round: float
    """On the virtual clock."""
    rounds: int
    is_complete: bool
    seconds_to_target: float | None
    """On the virtual clock; None where the target was not reached."""
    accuracy: float | None
    """At the last evaluation."""
    macro_f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Devices, links and cuts on which the virtual clock runs."""

    clients: tuple[Device, ...]
    cuts: tuple[int, ...]
    server: Device
    channel: Channel
    shape: StepShape
    local_steps: int

    def parties(self, model: PreTrainedModel, parts: Anatomy, scheme: Scheme) -> list[Party]:
        """Each client with its counted work; `model` lies on device "meta"."""
        works = {cut: count_step(model, parts, cut, scheme, self.shape) for cut in set(self.cuts)}
        return [
            Party(name=device.name, device=device, work=works[cut])
            for device, cut in zip(self.clients, self.cuts, strict=True)
        ]

    def seconds_per_round(self, model: PreTrainedModel, parts: Anatomy, scheme: Scheme) -> float:
        """A round of the scheme, the centralised one on the server alone."""
        parties = self.parties(model, parts, scheme)
        if not scheme.is_split:
            work = parties[0].work
            flop = work.client_forward_flop + work.client_backward_flop + work.server_flop
            return self.server.seconds(flop) * len(parties) * self.local_steps
        return round_seconds(parties, self.server, self.channel, scheme, local_steps=self.local_steps)

    def timeline(self, model: PreTrainedModel, parts: Anatomy, name: str) -> Timeline:
        """One step of every client."""
        scheme = scheme_named(name)
        return step_timeline(self.parties(model, parts, scheme), self.server, self.channel, scheme)


def make_row(
    course: Trajectory, seconds_per_round: float, server: SideMemory, client: SideMemory | None, *, target: float
) -> Row:
    """The table's line of one run."""
    reached = [done for done, accuracy in course.accuracy if accuracy >= target]
    total = course.uplink_bytes + course.downlink_bytes
    return Row(
        scheme=course.scheme,
        dealing=course.dealing,
        server_mib=round(server.total / 2**20, 1),
        client_mib=None if client is None else round(client.total / 2**20, 1),
        mib_per_round=round(total / max(1, course.num_rounds) / 2**20, 3),
        seconds_per_round=round(seconds_per_round, 4),
        rounds=course.num_rounds,
        is_complete=course.is_complete,
        seconds_to_target=round(reached[0] * seconds_per_round, 1) if reached else None,
        accuracy=course.accuracy[-1][1] if course.accuracy else None,
        macro_f1=course.macro_f1[-1][1] if course.macro_f1 else None,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    names = list(asdict(rows[0]))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(value) for value in asdict(row).values()) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def plot_all(folder: Path, rows: Sequence[Row], courses: Sequence[Trajectory], timelines: dict[str, Timeline]) -> None:
    """Accuracy against virtual time, memory bars, and a Gantt chart of one step per scheme that has clients."""
    import matplotlib as mpl

    mpl.use("Agg")
    _plot_accuracy(folder / "accuracy.png", rows, courses)
    _plot_memory(folder / "memory.png", rows)
    if timelines:
        _plot_timelines(folder / "gantt.png", timelines)


def _plot_accuracy(file: Path, rows: Sequence[Row], courses: Sequence[Trajectory]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for row, course in zip(rows, courses, strict=True):
        seconds = [done * row.seconds_per_round for done, _ in course.accuracy]
        axes.plot(seconds, [value for _, value in course.accuracy], marker=".", label=f"{row.scheme} ({row.dealing})")
    axes.set(xlabel="virtual time, s", ylabel="validation accuracy", xscale="log")
    axes.legend(fontsize=7)
    _save(figure, file)


def _plot_memory(file: Path, rows: Sequence[Row]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    first = {row.scheme: row for row in rows}
    clients = [row.client_mib or 0.0 for row in first.values()]
    axes.bar(list(first), [row.server_mib for row in first.values()], color="#b04040", label="server")
    axes.bar(list(first), clients, color="#4878a8", width=0.4, label="largest client")
    axes.set(ylabel="MiB", yscale="log")
    axes.legend()
    _save(figure, file)


def _plot_timelines(file: Path, timelines: dict[str, Timeline]) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(len(timelines), 1, figsize=(8, 1.6 * len(timelines) + 0.5), squeeze=False)
    for axes, (name, timeline) in zip(panels[:, 0], timelines.items(), strict=False):
        for span in timeline.spans:
            axes.barh(span.client, span.end - span.start, left=span.start, color=_COLOURS[span.phase], height=0.7)
        axes.set_title(f"{name}: {timeline.seconds:.3f} s", fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
    panels[-1, 0].set_xlabel("s")
    keys = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in _COLOURS.values()]
    panels[0, 0].legend(keys, list(_COLOURS), ncol=6, fontsize=6, loc="lower right")
    _save(figure, file)


def _save(figure: Any, file: Path) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)
