"""Status notifications go only where they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import pytest

from agent.store.goals import StoredGoal
from api.errors import RequestRefused
from api.goal_book import StatusChange
from api.metrics import Metrics
from api.notifications import Notifier, check_destination, is_allowed_address
from api.settings import ApiSettings
from tests.api_stage import client_for
from tests.unit.api.test_a1 import BODY, POLICIES, assert_is_problem

ALLOWED = ApiSettings(callback_hosts=frozenset({"consumer.test", "kafka.test"}))
LOCAL = ApiSettings(callback_hosts=frozenset({"127.0.0.1", "consumer.test"}), callbacks_may_be_local=True)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://consumer.test/x",
        "http://other.test/x",
        "http://user:secret@consumer.test/x",
        "http://consumer.test:99999/x",
        "http://[::1/x",
        "http:///x",
        "http://consumer.test/\x00",
        "http://consumer.test/" + "x" * 2000,
        "consumer.test",
        "http://169.254.169.254/latest",
        "http://\u212aafka.test/x",
        "http://con\u017fumer.test/x",
    ],
)
def test_a_destination_that_is_not_allowed_is_refused(url):
    with pytest.raises(RequestRefused):
        check_destination(url, ALLOWED)


def test_a_host_is_allowed_however_its_letters_are_written():
    settings = ApiSettings(callback_hosts=frozenset({"RIC.Example.com"}))
    for host in ("ric.example.com", "RIC.Example.com", "Ric.EXAMPLE.com:8080"):
        check_destination(f"http://{host}/status", settings)


def test_an_allowed_destination_passes():
    check_destination("https://consumer.test:8443/status?x=1", ALLOWED)
    check_destination("", ALLOWED)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fe80::1%eth0", "::ffff:127.0.0.1", "224.0.0.1", "0.0.0.0"],
)
def test_a_name_that_leads_to_a_local_address_is_not_dialled(address):
    assert not is_allowed_address(address, ALLOWED)


def test_a_public_address_is_dialled():
    assert is_allowed_address("93.184.216.34", ALLOWED)


async def test_a_rebinding_name_is_refused_when_it_is_resolved():
    async def resolver(host: str, port: int) -> list[str]:
        del host, port
        return ["127.0.0.1"]

    assert await Notifier(ALLOWED, Metrics(), resolver).send("http://consumer.test/x", {}) == "refused"


class Consumer:
    """An A1 consumer's callback endpoint on loopback.

    `answer` None: it keeps silent. `drops` come after the answer, over and over.
    """

    def __init__(
        self,
        answer: bytes | None = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        *,
        drops: bytes = b"",
    ) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._drops = drops
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._answer_one(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()
            self._serving.discard(task)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.requests.append(head + await reader.readexactly(length))
        if self._answer is None:
            await reader.read()
            return
        writer.write(self._answer)
        await writer.drain()
        while self._drops:
            writer.write(self._drops)
            await writer.drain()
            await asyncio.sleep(0.01)


SLOW, QUICK = "http://slow.test", "http://quick.test"
HOSTS = ApiSettings(callback_hosts=frozenset({"slow.test", "quick.test"}), callbacks_may_be_local=True)


async def _on_loopback(host: str, port: int) -> list[str]:
    del host, port
    return ["127.0.0.1"]


def change_for(destination: str, status: str = "ENFORCED") -> StatusChange:
    return StatusChange(
        goal=StoredGoal(
            policy_type="T", id="p", document="{}", goal=None, notification_destination=destination, status=status
        )
    )


@asynccontextmanager
async def started(notifier: Notifier) -> AsyncIterator[Notifier]:
    await notifier.start()
    try:
        yield notifier
    finally:
        await notifier.stop()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)


def counted(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("edgewright_notifications_total", {"result": result}) or 0.0


async def test_a_status_change_is_posted_to_the_destination():
    async with Consumer() as consumer, started(Notifier(LOCAL, Metrics())) as notifier:
        notifier.notify(change_for(f"http://127.0.0.1:{consumer.port}/status"))
        await until(lambda: bool(consumer.requests))
    assert consumer.requests[0].startswith(b"POST /status HTTP/1.1")
    assert consumer.requests[0].endswith(b'{"enforceStatus":"ENFORCED"}')


async def test_a_consumer_that_keeps_silent_holds_no_other_up():
    metrics = Metrics()
    async with (
        Consumer(answer=None) as slow,
        Consumer() as quick,
        started(Notifier(HOSTS, metrics, _on_loopback)) as notifier,
    ):
        for _ in range(3):
            notifier.notify(change_for(f"{SLOW}:{slow.port}/"))
        notifier.notify(change_for(f"{QUICK}:{quick.port}/"))
        await until(lambda: counted(metrics, "delivered") == 1.0)
        await until(lambda: len(slow.requests) == 1)
    assert (len(slow.requests), len(quick.requests)) == (1, 1)


async def test_one_host_gets_what_came_for_it_in_order():
    metrics, order = Metrics(), ("ENFORCED", "NOT_ENFORCED", "ENFORCED")
    async with Consumer() as consumer, started(Notifier(HOSTS, metrics, _on_loopback)) as notifier:
        for status in order:
            notifier.notify(change_for(f"{QUICK}:{consumer.port}/", status))
        await until(lambda: counted(metrics, "delivered") == 3.0)
    assert [request.rpartition(b'":"')[2] for request in consumer.requests] == [f'{s}"}}'.encode() for s in order]


async def test_an_answer_that_trickles_in_ends_with_the_time_for_it():
    async with Consumer(answer=b"HTTP/1.1 200 OK\r\nx-drop: ", drops=b"a") as consumer:
        notifier = Notifier(HOSTS, Metrics(), _on_loopback, timeout_s=0.2)
        with pytest.raises(TimeoutError):
            await notifier.send(f"{SLOW}:{consumer.port}/", {})


async def test_the_body_of_an_answer_is_not_waited_for():
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    async with Consumer(answer, drops=b"a") as consumer:
        result = await Notifier(HOSTS, Metrics(), _on_loopback).send(f"{SLOW}:{consumer.port}/", {})
    assert result == "delivered"


async def test_what_goes_wrong_in_no_foreseen_way_is_counted_and_those_behind_it_go_out():
    metrics, num_asked = Metrics(), 0

    async def resolver(host: str, port: int) -> list[str]:
        nonlocal num_asked
        num_asked += 1
        if num_asked == 1:
            raise ZeroDivisionError
        return await _on_loopback(host, port)

    async with Consumer() as consumer, started(Notifier(HOSTS, metrics, resolver)) as notifier:
        for _ in range(2):
            notifier.notify(change_for(f"{QUICK}:{consumer.port}/"))
        await until(lambda: counted(metrics, "delivered") == 1.0)
    assert counted(metrics, "failed") == 1.0


async def test_too_many_that_wait_for_one_host_are_dropped_and_those_for_another_are_not():
    metrics = Metrics()
    async with (
        Consumer(answer=None) as slow,
        Consumer() as quick,
        started(Notifier(HOSTS, metrics, _on_loopback)) as notifier,
    ):
        notifier.notify(change_for(f"{SLOW}:{slow.port}/"))
        await until(lambda: len(slow.requests) == 1)
        for _ in range(1002):
            notifier.notify(change_for(f"{SLOW}:{slow.port}/"))
        notifier.notify(change_for(f"{QUICK}:{quick.port}/"))
        await until(lambda: counted(metrics, "delivered") == 1.0)
    assert counted(metrics, "dropped") == 2.0


async def test_a_host_that_is_allowed_no_more_is_sent_nothing():
    assert await Notifier(LOCAL, Metrics(), _on_loopback).send(f"{QUICK}:1/", {}) == "refused"


async def test_a_redirect_is_not_followed():
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    async with Consumer(answer) as consumer:
        result = await Notifier(LOCAL, Metrics()).send(f"http://127.0.0.1:{consumer.port}/", {})
    assert result == "answered_with_an_error"
    assert len(consumer.requests) == 1


async def test_a_put_with_a_destination_that_is_not_allowed_keeps_nothing(client):
    response = await client.put(f"{POLICIES}/p1?notificationDestination=http://127.0.0.1/x", json=BODY)
    assert_is_problem(response, 400)
    assert (await client.get(POLICIES)).json() == []


async def test_a_put_with_an_allowed_destination_keeps_it(operations):
    async with client_for(operations, ALLOWED) as client:
        await client.put(f"{POLICIES}/p1?notificationDestination=http://consumer.test/x", json=BODY)
    stored = operations.goals.find("ORAN_SliceSLATarget_1.0.0", "p1")
    assert stored.notification_destination == "http://consumer.test/x"
