"""Status notifications go only where they may."""

from __future__ import annotations

import asyncio
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

ALLOWED = ApiSettings(callback_hosts=frozenset({"consumer.test"}))
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
    ],
)
def test_a_destination_that_is_not_allowed_is_refused(url):
    with pytest.raises(RequestRefused):
        check_destination(url, ALLOWED)


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
    """An A1 consumer's callback endpoint on loopback."""

    def __init__(self, answer: bytes = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n") -> None:
        self.requests: list[bytes] = []
        self._answer = answer

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.requests.append(head + await reader.readexactly(length))
        writer.write(self._answer)
        await writer.drain()
        writer.close()


async def test_a_status_change_is_posted_to_the_destination():
    async with Consumer() as consumer:
        notifier = Notifier(LOCAL, Metrics())
        await notifier.start()
        destination = f"http://127.0.0.1:{consumer.port}/status"
        goal = StoredGoal(
            policy_type="T", id="p", document="{}", goal=None, notification_destination=destination, status="ENFORCED"
        )
        notifier.notify(StatusChange(goal=goal))
        async with asyncio.timeout(5):
            while not consumer.requests:  # noqa: ASYNC110 (the consumer tells nobody)
                await asyncio.sleep(0.01)
        await notifier.stop()
    assert consumer.requests[0].startswith(b"POST /status HTTP/1.1")
    assert consumer.requests[0].endswith(b'{"enforceStatus":"ENFORCED"}')


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
