"""The dispatcher that speaks MQTT 5: retained desired state, confirmed commit, reports and presence."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.dispatch.desired import DesiredState
from agent.dispatch.mqtt_ledger import Ledger, withdrawn_outcome
from agent.dispatch.mqtt_packets import Publication
from agent.dispatch.mqtt_session import MqttSession, open_session
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import BrokerLost, PolicyRejected
from agent.policy import SchedulingPolicy
from agent.tracing import traced
from telemetry_sim.mqtt_protocol import (
    CONFIRMATION_TOPIC,
    PRESENCE_FILTER,
    REPORTS_FILTER,
    Confirmation,
    DesiredDocument,
)
from telemetry_sim.mqtt_target import BrokerAddress
from telemetry_sim.topology import Topology

LOG = logging.getLogger("edgewright.dispatch")
_LONGEST_WAIT_S = 5.0
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
        self._broker = broker
        self._timing = timing or CommitTiming()
        self._with_canary = with_canary
        self._desired = DesiredState.initial(topology)
        self._ledger = Ledger(topology)
        self._confirmed_version = 0
        self._newest: SchedulingPolicy | None = None
        """Of all that were sent, what was withdrawn included."""
        self._outcome: DispatchOutcome | None = None
        """What became of the newest."""
        self._in_force: SchedulingPolicy | None = None
        """The newest that was not withdrawn."""
        self._has_heard = False
        """Whether what the broker retains of presence and reports has had time to come in."""
        self._calls = threading.Lock()
        self._connected = asyncio.Event()
        self._session: MqttSession | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="mqtt-dispatcher", daemon=True)
        self._thread.start()
        self._task = asyncio.run_coroutine_threadsafe(self._stay_connected(), self._loop)

    @property
    def num_quarantined(self) -> int:
        """Messages that could not be read."""
        return self._ledger.num_quarantined

    @traced("dispatch")
    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        with self._calls:
            newest = self._newest
            if newest is not None and policy.version <= newest.version:
                return self._again(policy, newest)
            outcome = self._wait_for(self._commit(policy))
            self._newest, self._outcome = policy, outcome
            if not outcome.is_reverted:
                self._in_force = policy
            return outcome

    def reconcile(self) -> DispatchOutcome | None:
        with self._calls:
            if not self._ledger.behind():
                return None
            self._wait_for(self._offer_again())
            return None if self._in_force is None else self._ledger.outcome(self._in_force)

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        with self._calls:
            self._newest = self._in_force = latest
            self._wait_for(self._restore(desired, latest))
            return self._ledger.outcome(latest)

    def states(self) -> tuple[TargetState, ...]:
        return self._ledger.states()

    def newest_version(self) -> int:
        """As the port's; the first call waits for the reports that the broker retains."""
        return self._wait_for(self._newest_version())

    def documents(self) -> tuple[DesiredDocument, ...]:
        """The desired documents as last sent, one for each cell that a policy has named."""
        return tuple(self._ledger.documents.values())

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

    def _again(self, policy: SchedulingPolicy, newest: SchedulingPolicy) -> DispatchOutcome:
        if policy == self._in_force:
            self._wait_for(self._offer_again())
            return self._ledger.outcome(policy)
        if policy.version < newest.version:
            raise PolicyRejected(f"version {policy.version} is stale: {newest.version} was dispatched already")
        if policy != newest or self._outcome is None:
            raise PolicyRejected(
                f"version {policy.version} was dispatched with another content: {newest.content_hash()}"
            )
        return self._outcome

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _wait_for(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _commit(self, policy: SchedulingPolicy) -> DispatchOutcome:
        cells = tuple(dict.fromkeys(action.cell for action in policy.actions))
        unknown = [cell for cell in cells if cell not in self._ledger.cells]
        if unknown:
            raise PolicyRejected(f"policy {policy.version}: cells {unknown[:10]} are unknown")
        before, desired = self._ledger.documents.copy(), self._desired.after(policy.actions, version=policy.version)
        if not await self._is_connected():
            return withdrawn_outcome(policy, cells, "the broker can't be reached")
        trial = self._documents_for(cells, desired, policy, is_confirmed=False)
        online = [cell for cell in cells if cell in self._ledger.online]
        canary = online[:1] if self._with_canary and len(online) > 1 else []
        is_online = set(online)
        for group in (canary, [cell for cell in cells if cell not in canary]):
            faults = await self._publish(trial[cell] for cell in group)
            faults = faults or await self._answers(trial[cell] for cell in group if cell in is_online)
            if faults:
                await self._withdraw(policy, cells, before)
                return withdrawn_outcome(policy, cells, faults)
        fault = await self._confirm(policy.version)
        if fault:
            await self._withdraw(policy, cells, before)
            return withdrawn_outcome(policy, cells, f"the confirmation: {fault}")
        self._desired = desired
        return self._ledger.outcome(policy)

    async def _restore(self, desired: DesiredState, latest: SchedulingPolicy) -> None:
        self._desired = desired
        await self._hear_reports()
        made = self._documents_for(tuple(self._ledger.cells), desired, latest, is_confirmed=True)
        documents = [document for document in made.values() if document.version]
        refused = await self._publish(documents)
        await self._confirm(latest.version)
        await self._answers(self._to_answer(documents, refused))

    async def _offer_again(self) -> None:
        """Publish again for targets that are behind and online, or that the broker kept the last from."""
        reachable = self._ledger.online | self._ledger.undelivered.keys()
        behind = [cell for cell in self._ledger.behind() if cell in reachable]
        documents = [
            self._ledger.documents[cell].model_copy(update={"is_confirmed": True})
            for cell in behind
            if cell in self._ledger.documents
        ]
        if documents and await self._is_connected():
            refused = await self._publish(documents)
            await self._answers(self._to_answer(documents, refused))

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

    async def _publish(self, documents: Iterable[DesiredDocument]) -> dict[int, str]:
        """Keep as desired and send, all at once; a broken connection sends them when it is back.

        The cells whose document the broker refused to take, and why.
        """
        kept = tuple(documents)
        self._ledger.documents.update((document.cell, document) for document in kept)
        refused = await self._send(self._ledger.publications(kept))
        if refused is None:
            return {}
        self._ledger.note_sent(kept, refused)
        return {d.cell: self._ledger.undelivered[d.cell] for d in kept if d.cell in self._ledger.undelivered}

    async def _confirm(self, version: int) -> str:
        """Why the broker refused to take the confirmation; empty where it did not."""
        before = self._confirmed_version
        self._confirmed_version = max(before, version)
        refused = await self._send([self._confirmation()]) or {}
        if refused:
            self._confirmed_version = before
        return next(iter(refused.values()), "")

    async def _send(self, publications: list[Publication]) -> dict[bytes, str] | None:
        """The topics that the broker refused, and why; None where the connection broke."""
        session = self._session
        if session is None:
            return None
        try:
            return await session.publish(publications)
        except BrokerLost as error:
            LOG.warning("publishing failed, it is repeated after reconnecting: %s", error)
            return None

    def _confirmation(self) -> Publication:
        document = Confirmation(version=self._confirmed_version).model_dump_json()
        return Publication(topic=CONFIRMATION_TOPIC.encode(), payload=document.encode())

    def _to_answer(
        self, documents: Iterable[DesiredDocument], refused: Mapping[int, str]
    ) -> tuple[DesiredDocument, ...]:
        """Those that somebody has been sent who is there."""
        reached = self._ledger.online - refused.keys()
        return tuple(document for document in documents if document.cell in reached)

    async def _answers(self, documents: Iterable[DesiredDocument]) -> dict[int, str]:
        wanted = {document.cell: document for document in documents}
        return await self._ledger.answers(wanted, self._timing.answer_within_s)

    async def _withdraw(
        self, policy: SchedulingPolicy, cells: tuple[int, ...], before: dict[int, DesiredDocument]
    ) -> None:
        """Offer every cell what it had, as something newer than the trial."""
        documents = []
        for cell in cells:
            had = before.get(cell) or DesiredDocument(
                cell=cell,
                version=0,
                revision=0,
                is_confirmed=True,
                confirm_within_s=self._timing.confirm_within_s,
                valid_until_s=policy.valid_until_s,
                actions=self._desired.of_cell(cell),
            )
            documents.append(had.model_copy(update={"revision": 2 * policy.version + 1, "is_confirmed": True}))
        refused = await self._publish(documents)
        # Waiting here makes "all reverted" true on return for everyone who can be reached.
        await self._answers(self._to_answer(documents, refused))

    async def _newest_version(self) -> int:
        await self._hear_reports()
        return self._ledger.newest_version()

    async def _hear_reports(self) -> None:
        if not self._has_heard and await self._is_connected():
            await asyncio.sleep(self._timing.presence_within_s)
            self._has_heard = True

    async def _is_connected(self) -> bool:
        try:
            async with asyncio.timeout(self._timing.answer_within_s):
                await self._connected.wait()
        except TimeoutError:
            return False
        return True

    async def _stay_connected(self) -> None:
        wait_s = 0.1
        while True:
            session: MqttSession | None = None
            try:
                name = f"edgewright-dispatcher-{secrets.token_hex(4)}"
                session = await open_session(self._broker, name, self._ledger.take)
                wait_s = 0.1
                await session.subscribe(PRESENCE_FILTER, REPORTS_FILTER)
                # A broker that lost its memory is told again; the same documents change nothing at the targets.
                documents = self.documents()
                again = self._ledger.publications(documents)
                confirmation = [self._confirmation()] if self._confirmed_version else []
                self._ledger.note_sent(documents, await session.publish([*again, *confirmation]))
                self._session = session
                self._connected.set()
                await session.keep_alive(self._broker.keepalive_s / 2)
            except BrokerLost as error:
                LOG.warning("the broker was lost: %s", error)
            finally:
                self._session = None
                self._connected.clear()
                # Without a broker nobody's presence is known; it comes back with the retained messages.
                self._ledger.online.clear()
                if session is not None:
                    session.close()
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
