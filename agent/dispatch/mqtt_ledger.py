"""What every target on a broker shall run and says it runs, and whose answers a commit waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from agent.dispatch.mqtt_packets import Publication
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement
from telemetry_sim.mqtt_protocol import (
    ONLINE,
    DesiredDocument,
    ReportDocument,
    ReportState,
    desired_topic,
    presence_topic,
    reported_topic,
)
from telemetry_sim.topology import Topology

_MOST_BELIEVED = 2**30
"""Version that a report may tell: one forged report must not use up all the numbers that there are."""


class Ledger:
    """Desired documents, reports and presence by cell; belongs to one event loop."""

    def __init__(self, topology: Topology) -> None:
        self.documents: dict[int, DesiredDocument] = {}
        """As last sent, one for each cell that a policy has named."""
        self.reports: dict[int, ReportDocument] = {}
        self.online: set[int] = set()
        self.undelivered: dict[int, str] = {}
        """Cells whose desired document the broker refused to take, and why."""
        self.num_quarantined = 0
        """Messages that could not be read."""
        self.cells = frozenset(cell.id for cell in topology.cells)
        self._order = tuple(cell.id for cell in topology.cells)
        # A look-up for each message that comes in costs less than taking its topic apart.
        self._presence_of = {presence_topic(cell).encode(): cell for cell in self._order}
        self._report_of = {reported_topic(cell).encode(): cell for cell in self._order}
        self._awaited: dict[int, int] = {}
        """Cells whose answer is waited for, and the revision that they are to answer."""
        self._refused: dict[int, str] = {}
        self._changed = asyncio.Event()

    def take(self, topic: bytes, payload: bytes) -> None:
        """Heed a message from the broker; one that can't be read is counted and changes nothing."""
        cell = self._report_of.get(topic)
        if cell is None:
            self._take_presence(topic, payload)
            return
        try:
            report = ReportDocument.model_validate_json(payload)
        except ValidationError:
            self.num_quarantined += 1
            return
        if report.cell != cell:
            self.num_quarantined += 1
            return
        self.reports[cell] = report
        if cell in self._awaited:
            self._tick_off(cell, report)

    def publications(self, documents: Iterable[DesiredDocument]) -> list[Publication]:
        return [
            Publication(
                topic=desired_topic(document.cell).encode(),
                payload=document.model_dump_json().encode(),
                response_topic=reported_topic(document.cell).encode(),
                correlation=f"{document.cell}.{document.revision}".encode(),
            )
            for document in documents
        ]

    def note_sent(self, documents: Iterable[DesiredDocument], refused: Mapping[bytes, str]) -> None:
        """The broker has answered; `refused` has the topics of what it did not take."""
        for document in documents:
            why = refused.get(desired_topic(document.cell).encode())
            if why is None:
                self.undelivered.pop(document.cell, None)
            else:
                self.undelivered[document.cell] = why

    async def answers(self, wanted: Mapping[int, DesiredDocument], within_s: float) -> dict[int, str]:
        """Wait until every cell has answered its document; why not, for those that refused or kept silent."""
        self._awaited = {cell: document.revision for cell, document in wanted.items()}
        self._refused = {}
        self._changed.clear()
        for cell in wanted:
            report = self.reports.get(cell)
            if report is not None:
                self._tick_off(cell, report)
        if self._awaited and not self._refused:
            try:
                async with asyncio.timeout(within_s):
                    await self._changed.wait()
            except TimeoutError:
                self._refused = self._refused or dict.fromkeys(self._awaited, f"no answer within {within_s:g} s")
        self._awaited = {}
        return self._refused

    def state(self, cell: int) -> TargetState:
        document, report = self.documents.get(cell), self.reports.get(cell)
        return TargetState(
            cell=cell,
            desired_version=0 if document is None else document.version,
            reported_version=0 if report is None else report.version,
            is_online=cell in self.online,
            reason=self._reason(cell),
        )

    def states(self) -> tuple[TargetState, ...]:
        """In the topology's order."""
        return tuple(self.state(cell) for cell in self._order)

    def newest_version(self) -> int:
        """The newest version that any target has answered, a withdrawn one included; 0 before any report."""
        # A revision is twice its version, one more for a withdrawal.
        told = (max(report.version, report.answers // 2) for report in self.reports.values())
        return max((version for version in told if version <= _MOST_BELIEVED), default=0)

    def behind(self) -> list[int]:
        """Cells that do not run what they should."""
        return [cell for cell in self._order if not self.state(cell).is_settled]

    def outcome(self, policy: SchedulingPolicy) -> DispatchOutcome:
        """What the cells of the policy report now."""
        version, reports = policy.version, self.reports
        answers = []
        for cell in dict.fromkeys(action.cell for action in policy.actions):
            report = reports.get(cell)
            is_applied = report is not None and report.version == version
            reason = self._reason(cell)
            # Built from what was checked, so not checked again: there is one for every target.
            answers.append(
                Acknowledgement.model_construct(cell=cell, policy_version=version, applied=is_applied, reason=reason)
            )
        return DispatchOutcome(policy_version=version, acknowledgements=tuple(answers))

    def _reason(self, cell: int) -> str:
        """Why the cell does not run what it should; what it said itself comes second."""
        report = self.reports.get(cell)
        return self.undelivered.get(cell) or ("" if report is None else report.reason)

    def _take_presence(self, topic: bytes, payload: bytes) -> None:
        cell = self._presence_of.get(topic)
        if cell is None:
            self.num_quarantined += 1
        elif payload == ONLINE:
            self.online.add(cell)
        else:
            self.online.discard(cell)

    def _tick_off(self, cell: int, report: ReportDocument) -> None:
        """Heed a cell's report where its answer is awaited."""
        if self._awaited.get(cell) != report.answers:
            return
        if report.state is ReportState.REFUSED:
            self._refused[cell] = report.reason or "refused"
        elif report.state in (ReportState.TRIAL, ReportState.CONFIRMED):
            del self._awaited[cell]
        if self._refused or not self._awaited:
            self._changed.set()


def withdrawn_outcome(
    policy: SchedulingPolicy, cells: tuple[int, ...], why: str | Mapping[int, str]
) -> DispatchOutcome:
    """Nobody runs the policy; the cells that stood in the way say why, the others who it was."""
    reasons = dict.fromkeys(cells, why) if isinstance(why, str) else dict(why)
    first = next(iter(reasons.items()), (None, ""))
    withdrawn = f"withdrawn because of cell {first[0]}: {first[1]}"
    return DispatchOutcome(
        policy_version=policy.version,
        is_reverted=True,
        acknowledgements=tuple(
            Acknowledgement(
                cell=cell, policy_version=policy.version, applied=False, reason=reasons.get(cell, withdrawn)
            )
            for cell in cells
        ),
    )
