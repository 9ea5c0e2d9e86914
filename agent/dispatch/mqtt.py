"""The dispatcher that speaks MQTT 5: retained desired state, confirmed commit, reports and presence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from agent.dispatch.desired import DesiredState
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement
from telemetry_sim.mqtt_protocol import (
    CONFIRMATION_TOPIC,
    ONLINE,
    PRESENCE_FILTER,
    REPORTS_FILTER,
    Confirmation,
    DesiredDocument,
    ReportDocument,
    ReportState,
    cell_of_topic,
    desired_topic,
    reported_topic,
)
from telemetry_sim.mqtt_target import BrokerAddress
from telemetry_sim.topology import Topology

LOG = logging.getLogger("edgewright.dispatch")
_LONGEST_WAIT_S = 5.0
_IN_FLIGHT = 10
"""Publications that wait for the broker at once, below what brokers take by default (20, MQTT's Receive Maximum)."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTiming:
    """How patient a commit is."""

    answer_within_s: float = 5.0
    """Wait for every target that is online; then the policy is withdrawn everywhere."""
    confirm_within_s: float = 15.0
    """Targets go back by themselves this long after they applied on trial; longer than a canary and an answer take."""
    presence_within_s: float = 0.5
    """After connecting, time in which retained presence and reports come in."""


class MqttDispatcher:
    """Runs its own event loop in a thread; the calls of the port wait for it.

    Targets that are known to be offline don't hold a policy up: the retained state and the retained confirmation
    bring them to it when they return. A target that is online and refuses, or does not answer, withdraws the policy
    from all.
    """

    def __init__(
        self, broker: BrokerAddress, topology: Topology, *, timing: CommitTiming | None = None, with_canary: bool = True
    ) -> None:
        self.num_quarantined = 0
        """Messages that could not be read."""
        self._broker = broker
        self._timing = timing or CommitTiming()
        self._with_canary = with_canary
        self._desired = DesiredState.initial(topology)
        self._states = {cell.id: TargetState(cell=cell.id, is_online=False) for cell in topology.cells}
        self._documents: dict[int, DesiredDocument] = {}
        self._reports: dict[int, ReportDocument] = {}
        self._confirmed_version = 0
        self._latest: SchedulingPolicy | None = None
        self._outcome: DispatchOutcome | None = None
        self._calls = threading.Lock()
        self._awaited: dict[int, int] = {}
        """Cells whose answer the commit waits for, and the revision that they are to answer."""
        self._refused: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._connected = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="mqtt-dispatcher", daemon=True)
        self._thread.start()
        self._task = asyncio.run_coroutine_threadsafe(self._stay_connected(), self._loop)

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        with self._calls:
            latest = self._latest
            if latest is not None and policy.version <= latest.version:
                return self._again(policy, latest)
            outcome = self._wait_for(self._commit(policy))
            self._latest, self._outcome = policy, outcome
            return outcome

    def reconcile(self) -> DispatchOutcome | None:
        with self._calls:
            if all(state.is_settled for state in self._states.values()) or self._latest is None:
                return None
            self._wait_for(self._offer_again())
            return self._standing_outcome(self._latest)

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        with self._calls:
            self._latest = latest
            self._wait_for(self._restore(desired, latest))
            return self._standing_outcome(latest)

    def states(self) -> tuple[TargetState, ...]:
        return tuple(self._states.values())

    def documents(self) -> tuple[DesiredDocument, ...]:
        """The desired documents as last sent, one for each cell that a policy has named."""
        return tuple(self._documents.values())

    def close(self) -> None:
        """Disconnect and end the thread; retained state stays on the broker."""
        self._task.cancel()

        async def drain() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(drain(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _again(self, policy: SchedulingPolicy, latest: SchedulingPolicy) -> DispatchOutcome:
        if policy.version < latest.version:
            raise PolicyRejected(f"version {policy.version} is stale: {latest.version} was dispatched already")
        if policy != latest:
            raise PolicyRejected(
                f"version {policy.version} was dispatched with another content: {latest.content_hash()}"
            )
        if self._outcome is not None and self._outcome.is_reverted:
            return self._outcome
        self._wait_for(self._offer_again())
        return self._standing_outcome(policy)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _wait_for(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _commit(self, policy: SchedulingPolicy) -> DispatchOutcome:
        cells = tuple(dict.fromkeys(action.cell for action in policy.actions))
        unknown = [cell for cell in cells if cell not in self._states]
        if unknown:
            raise PolicyRejected(f"policy {policy.version}: cells {unknown[:10]} are unknown")
        before, desired = self._documents.copy(), self._desired.after(policy.actions, version=policy.version)
        if not await self._is_connected():
            return self._withdrawn(policy, cells, "the broker can't be reached")
        trial = self._documents_for(cells, desired, policy, is_confirmed=False)
        online = [cell for cell in cells if self._states[cell].is_online]
        canary = online[:1] if self._with_canary and len(online) > 1 else []
        is_online = set(online)
        for group in (canary, [cell for cell in cells if cell not in canary]):
            await self._publish(trial[cell] for cell in group)
            faults = await self._answers([cell for cell in group if cell in is_online], trial)
            if faults:
                await self._withdraw(policy, cells, before)
                return self._withdrawn(policy, cells, faults)
        await self._confirm(policy.version)
        self._desired = desired
        return self._standing_outcome(policy)

    async def _restore(self, desired: DesiredState, latest: SchedulingPolicy) -> None:
        self._desired = desired
        if await self._is_connected():
            await asyncio.sleep(self._timing.presence_within_s)
        made = self._documents_for(tuple(self._states), desired, latest, is_confirmed=True)
        documents = [document for document in made.values() if document.version]
        await self._publish(documents)
        await self._confirm(latest.version)
        await self._answers(
            [doc.cell for doc in documents if self._states[doc.cell].is_online],
            {doc.cell: doc for doc in documents},
        )

    async def _offer_again(self) -> None:
        """Publish again for targets that are online and behind."""
        behind = [cell for cell, state in self._states.items() if state.is_online and not state.is_settled]
        documents = [
            self._documents[cell].model_copy(update={"is_confirmed": True})
            for cell in behind
            if cell in self._documents
        ]
        if documents and await self._is_connected():
            await self._publish(documents)
            await self._answers(behind, {doc.cell: doc for doc in documents})

    def _documents_for(
        self, cells: tuple[int, ...], desired: DesiredState, policy: SchedulingPolicy, *, is_confirmed: bool
    ) -> dict[int, DesiredDocument]:
        # Built from a policy that was checked, so not checked again: there is one for every target.
        return {
            cell: DesiredDocument.model_construct(
                cell=cell,
                version=version,
                revision=2 * version,
                is_confirmed=is_confirmed,
                confirm_within_s=self._timing.confirm_within_s,
                valid_until_s=policy.valid_until_s,
                actions=actions,
            )
            for cell, (version, actions) in desired.by_cell(cells).items()
        }

    async def _publish(self, documents: Iterable[DesiredDocument]) -> None:
        """Keep as desired and send, all at once; a broken connection sends them when it is back."""
        kept = tuple(documents)
        for document in kept:
            self._documents[document.cell] = document
            self._note_state(document.cell)
        client = self._client
        if client is None:
            return
        try:
            for start in range(0, len(kept), _IN_FLIGHT):
                await asyncio.gather(*(self._send(client, document) for document in kept[start : start + _IN_FLIGHT]))
        except aiomqtt.MqttError as error:
            LOG.warning("publishing failed, it is repeated after reconnecting: %s", error)

    async def _send(self, client: aiomqtt.Client, document: DesiredDocument) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # the library has no hints here
        properties.ResponseTopic = reported_topic(document.cell)
        properties.CorrelationData = f"{document.cell}.{document.revision}".encode()
        await client.publish(
            desired_topic(document.cell), document.model_dump_json(), qos=1, retain=True, properties=properties
        )

    async def _confirm(self, version: int) -> None:
        self._confirmed_version = max(self._confirmed_version, version)
        client = self._client
        if client is None:
            return
        try:
            document = Confirmation(version=self._confirmed_version).model_dump_json()
            await client.publish(CONFIRMATION_TOPIC, document, qos=1, retain=True)
        except aiomqtt.MqttError as error:
            LOG.warning("the confirmation is repeated after reconnecting: %s", error)

    async def _answers(self, cells: list[int], wanted: dict[int, DesiredDocument]) -> dict[int, str]:
        """Wait until every cell has answered its document; why not, for those that refused or kept silent."""
        self._awaited = {cell: wanted[cell].revision for cell in cells}
        self._refused = {}
        self._changed.clear()
        for cell in cells:
            self._tick_off(cell)
        if self._awaited and not self._refused:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._timing.answer_within_s)
        silent, self._awaited = self._awaited, {}
        return self._refused or dict.fromkeys(silent, f"no answer within {self._timing.answer_within_s:g} s")

    def _tick_off(self, cell: int) -> None:
        """Heed a cell's report where its answer is awaited."""
        report = self._reports.get(cell)
        if report is None or self._awaited.get(cell) != report.answers:
            return
        if report.state is ReportState.REFUSED:
            self._refused[cell] = report.reason or "refused"
        elif report.state in (ReportState.TRIAL, ReportState.CONFIRMED):
            del self._awaited[cell]
        if self._refused or not self._awaited:
            self._changed.set()

    async def _withdraw(
        self, policy: SchedulingPolicy, cells: tuple[int, ...], before: dict[int, DesiredDocument]
    ) -> None:
        """Offer every cell what it had, as something newer than the trial."""
        initial = self._desired
        documents = []
        for cell in cells:
            had = before.get(cell) or DesiredDocument(
                cell=cell,
                version=0,
                revision=0,
                is_confirmed=True,
                confirm_within_s=self._timing.confirm_within_s,
                valid_until_s=policy.valid_until_s,
                actions=initial.of_cell(cell),
            )
            documents.append(had.model_copy(update={"revision": 2 * policy.version + 1, "is_confirmed": True}))
        await self._publish(documents)
        # Waiting here makes "all reverted" true on return for everyone who can be reached.
        online = [cell for cell in cells if self._states[cell].is_online]
        await self._answers(online, {doc.cell: doc for doc in documents})

    def _withdrawn(
        self, policy: SchedulingPolicy, cells: tuple[int, ...], why: str | dict[int, str]
    ) -> DispatchOutcome:
        reasons = why if isinstance(why, dict) else dict.fromkeys(cells, why)
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

    def _standing_outcome(self, policy: SchedulingPolicy) -> DispatchOutcome:
        """What the cells of the policy report now."""
        cells = dict.fromkeys(action.cell for action in policy.actions)
        return DispatchOutcome(
            policy_version=policy.version,
            acknowledgements=tuple(
                Acknowledgement.model_construct(
                    cell=cell,
                    policy_version=policy.version,
                    applied=self._states[cell].reported_version == policy.version,
                    reason=self._states[cell].reason,
                )
                for cell in cells
            ),
        )

    async def _is_connected(self) -> bool:
        try:
            await asyncio.wait_for(self._connected.wait(), self._timing.answer_within_s)
        except TimeoutError:
            return False
        return True

    async def _stay_connected(self) -> None:
        wait_s = 0.1
        while True:
            try:
                async with self._broker.client(f"edgewright-dispatcher-{secrets.token_hex(4)}") as client:
                    wait_s = 0.1
                    await client.subscribe([(PRESENCE_FILTER, 1), (REPORTS_FILTER, 1)])
                    await self._send_everything(client)
                    self._client = client
                    self._connected.set()
                    async for message in client.messages:
                        self._take(message)
            except aiomqtt.MqttError as error:
                LOG.warning("the broker was lost: %s", error)
            finally:
                self._client = None
                self._connected.clear()
                # Without a broker nobody's presence is known; it comes back with the retained messages.
                for cell, state in self._states.items():
                    self._states[cell] = replace(state, is_online=False)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _send_everything(self, client: aiomqtt.Client) -> None:
        """A broker that lost its memory is told again; the same documents change nothing at the targets."""
        for document in tuple(self._documents.values()):
            await self._send(client, document)
        if self._confirmed_version:
            confirmation = Confirmation(version=self._confirmed_version).model_dump_json()
            await client.publish(CONFIRMATION_TOPIC, confirmation, qos=1, retain=True)

    def _take(self, message: aiomqtt.Message) -> None:
        cell = cell_of_topic(str(message.topic))
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        if cell is None or cell not in self._states:
            self.num_quarantined += 1
            return
        if str(message.topic).endswith("/presence"):
            self._states[cell] = replace(self._states[cell], is_online=bytes(payload) == ONLINE)
            return
        try:
            report = ReportDocument.model_validate_json(payload)
        except ValidationError:
            self.num_quarantined += 1
            return
        if report.cell != cell:
            self.num_quarantined += 1
            return
        self._reports[cell] = report
        self._note_state(cell)
        self._tick_off(cell)

    def _note_state(self, cell: int) -> None:
        document, report = self._documents.get(cell), self._reports.get(cell)
        self._states[cell] = replace(
            self._states[cell],
            desired_version=0 if document is None else document.version,
            reported_version=0 if report is None else report.version,
            reason="" if report is None else report.reason,
        )
