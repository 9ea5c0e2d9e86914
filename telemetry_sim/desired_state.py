"""A target's side of the desired state: apply on trial, keep when confirmed, go back when nobody confirms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from telemetry_sim.mqtt_protocol import DesiredDocument, ReportDocument, ReportState
from telemetry_sim.topology import SliceProfile

Apply = Callable[[tuple[ControlAction, ...], int], str]
"""Put actions of a version into force; the reason where that is refused, else the empty string."""


def initial_actions(cell: int, slices: Sequence[SliceProfile]) -> tuple[ControlAction, ...]:
    """A cell before any policy: equal guaranteed shares, the remainder to the first slices, planned power."""
    share, spare = divmod(100, len(slices))
    shares = [share + (row < spare) for row in range(len(slices))]
    parts = [
        SliceAction(cell=cell, slice=profile.id, min_pct=pct, compute_pct=pct)
        for profile, pct in zip(slices, shares, strict=True)
    ]
    return (*parts, CellAction(cell=cell))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    version: int
    revision: int
    actions: tuple[ControlAction, ...]


class StateKeeper:
    """One cell's state; messages may come twice, late or not at all, and end in the same place."""

    def __init__(self, cell: int, apply: Apply, *, initial: tuple[ControlAction, ...] = ()) -> None:
        self._cell = cell
        self._apply = apply
        self._kept = _Held(version=0, revision=0, actions=initial)
        self._trial: _Held | None = None
        self._withdrawn: _Held | None = None
        """A trial that ran out: a confirmation that comes late still brings it back."""
        self._trial_ends_s = 0.0
        self._confirmed_version = 0
        self._newest_revision = -1
        self._last_report: ReportDocument | None = None

    @property
    def version(self) -> int:
        """Of the state in force."""
        return (self._trial or self._kept).version

    @property
    def last_report(self) -> ReportDocument | None:
        """What was last said; None before anything was desired."""
        return self._last_report

    @property
    def trial_ends_s(self) -> float | None:
        """When the target goes back by itself; None without a trial."""
        return None if self._trial is None else self._trial_ends_s

    def desire(self, document: DesiredDocument, *, now_s: float) -> ReportDocument | None:
        """Obey a desired document; None where it is older than what is known."""
        if document.cell != self._cell or document.revision < self._newest_revision:
            return None
        if document.revision == self._newest_revision and self._last_report is not None:
            if document.is_confirmed:
                self._confirm_trial()
            return self._last_report
        self._newest_revision = document.revision
        self._withdrawn = None
        wanted = _Held(version=document.version, revision=document.revision, actions=document.actions)
        reason = self._apply(wanted.actions, wanted.version)
        if reason:
            return self._report(ReportState.REFUSED, answers=document.revision, reason=reason)
        if document.is_confirmed or document.version <= self._confirmed_version:
            self._kept, self._trial = wanted, None
            return self._report(ReportState.CONFIRMED, answers=document.revision)
        self._trial, self._trial_ends_s = wanted, now_s + document.confirm_within_s
        return self._report(ReportState.TRIAL, answers=document.revision)

    def confirm(self, version: int) -> ReportDocument | None:
        """Everything up to this version is permanent; a report where that settles a trial."""
        self._confirmed_version = max(self._confirmed_version, version)
        if self._withdrawn is not None and self._withdrawn.version <= self._confirmed_version:
            self._apply(self._withdrawn.actions, self._withdrawn.version)
            self._trial, self._withdrawn = self._withdrawn, None
        if self._trial is None or self._trial.version > self._confirmed_version:
            return None
        self._confirm_trial()
        return self._last_report

    def tick(self, *, now_s: float) -> ReportDocument | None:
        """Go back where a trial has run out; a report where it has."""
        if self._trial is None or now_s < self._trial_ends_s:
            return None
        answers = self._trial.revision
        self._withdrawn, self._trial = self._trial, None
        self._apply(self._kept.actions, self._kept.version)
        # The retained document may be offered again after a reconnect: it is then a new trial.
        self._newest_revision = min(self._newest_revision, answers - 1)
        return self._report(ReportState.REVERTED, answers=answers, reason="nobody confirmed in time")

    def _confirm_trial(self) -> None:
        if self._trial is not None:
            self._kept, self._trial = self._trial, None
            self._report(ReportState.CONFIRMED, answers=self._kept.revision)

    def _report(self, state: ReportState, *, answers: int, reason: str = "") -> ReportDocument:
        self._last_report = ReportDocument(
            cell=self._cell, version=self.version, answers=answers, state=state, reason=reason[:200]
        )
        return self._last_report
