"""The chat that a server holds, as the one who types sees it: answers, questions before changes, trouble said."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.chat.answer import Pending
from agent.chat.room_options import RoomOptions
from agent.chat.server_link import ServerLink
from agent.chat.server_talk import ServerTalk, latest_log
from agent.chat.talk import Listener
from agent.chat.talk_opening import open_talk
from agent.errors import AgentInputInvalid
from tests.api_stage import Stage
from tests.chat_stage import ChatStage, calling, saying, tokens_for
from tests.server_stage import RunningServer


@pytest.fixture
def url(chat) -> Iterator[str]:
    running = RunningServer(chat.app)
    yield running.start()
    running.stop()


class Asked:
    """A person who says yes or no and remembers what was shown."""

    def __init__(self, *, says: bool) -> None:
        self.says = says
        self.shown: list[Pending] = []
        self.listener = Listener(decide=self.decide)

    def decide(self, pending: Pending) -> bool:
        self.shown.append(pending)
        return self.says


def test_a_sentence_that_changes_something_asks_first(chat: ChatStage, stage: Stage, url: str) -> None:
    chat.says(calling("propose_plan"), calling("apply_plan"), saying("Nothing is known."))
    person = Asked(says=True)
    with ServerLink(url) as link:
        answer = ServerTalk(link, is_read_only=False).answer("plan and apply", person.listener)
    assert [pending.tool for pending in person.shown] == ["apply_plan"]
    assert person.shown[0].resolved["changes"]
    assert [call["tool"] for call in answer.calls] == ["propose_plan", "apply_plan"]
    assert "is in force" in answer.calls[1]["result"]["text"]
    assert answer.exit_status == 0
    assert answer.pending == []
    assert stage.gate.desired.version == person.shown[0].resolved["version"]


@pytest.mark.parametrize(("says", "status"), [(True, 0), (False, 5)])
def test_a_command_asks_too(stage: Stage, url: str, says: bool, status: int) -> None:
    person = Asked(says=says)
    with ServerLink(url) as link:
        answer = ServerTalk(link, is_read_only=False).answer("/goal delay_ms control 20", person.listener)
    assert len(person.shown) == 1
    assert answer.exit_status == status
    assert len(stage.operations.goals.live()) == int(says)
    assert ("Goal set" in answer.text) == says


def test_where_nobody_is_there_the_change_waits(stage: Stage, url: str) -> None:
    with ServerLink(url) as link:
        answer = ServerTalk(link, is_read_only=False).answer("/goal delay_ms control 20", Listener())
    assert answer.exit_status == 5
    assert [pending.tool for pending in answer.pending] == ["set_goal"]
    assert stage.operations.goals.live() == ()


def test_read_only_is_held_to_by_the_server(stage: Stage, url: str) -> None:
    person = Asked(says=True)
    with ServerLink(url) as link:
        talk = ServerTalk(link, is_read_only=True)
        for line in ("/goal delay_ms control 20", "/apply", "/rollback 0"):
            assert talk.answer(line, person.listener).exit_status == 4
    assert person.shown == []
    assert stage.operations.goals.live() == ()


def test_a_viewer_who_asks_for_changes_is_refused(stage: Stage, url: str) -> None:
    token = tokens_for(stage.operations, "viewer")["viewer"]
    with ServerLink(url, token) as link:
        refused = ServerTalk(link, is_read_only=False).answer("/goal clear", Listener())
        assert refused.exit_status == 4
        assert "role operator is needed" in refused.text
        assert ServerTalk(link, is_read_only=True).answer("/status", Listener()).exit_status == 0


def test_views_files_and_rubbish_stay_on_this_machine(url: str, tmp_path: Path) -> None:
    log = tmp_path / "night.jsonl"
    with ServerLink(url) as link:
        talk = ServerTalk(link, is_read_only=True, name="night", log=log)
        talk.warm_up()
        assert talk.words() == ["video", "control", "meters", "1", "2", "3"]
        assert "version" in talk.answer("/policies", Listener()).text
        talk.answer("/status", Listener())
        assert "2 messages" in talk.answer(f"/export {tmp_path}/out.txt", Listener()).text
        assert [json.loads(row)["role"] for row in (tmp_path / "out.txt").read_text().splitlines()] == ["human", "ai"]
        for rubbish in ("", "\x1b[2J", "x" * 1_000_000, "\ufffd" * 50, "/frobnicate", "/export", f"/export {tmp_path}"):
            answer = talk.answer(rubbish, Listener())
            assert answer.text.startswith("Error: ")
            assert answer.exit_status == 2
        for line in ("/help", "/tokens", "/save", "/model", "/run"):
            assert talk.answer(line, Listener()).exit_status == 0
    assert latest_log(tmp_path) == "night"
    again = ServerTalk(ServerLink(url), is_read_only=True, name="night", log=log)
    assert "messages written" in again.answer(f"/export {tmp_path}/again.txt", Listener()).text
    with pytest.raises(AgentInputInvalid, match="nothing to resume"):
        latest_log(tmp_path / "nowhere")


def test_a_server_that_goes_away_is_said_and_the_talk_goes_on(chat: ChatStage) -> None:
    running = RunningServer(chat.app)
    with ServerLink(running.start()) as link:
        talk = ServerTalk(link, is_read_only=True)
        assert talk.answer("/status", Listener()).exit_status == 0
        running.stop()
        answer = talk.answer("/status", Listener())
    assert answer.exit_status == 1
    assert "can't be reached" in answer.text


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        b'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: text\ndata: {"piece": "Cell"}\n\n',
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\ncontent-type: text/event-stream\r\n\r\nevent: te",
        b"",
    ],
)
def test_a_server_that_dies_in_mid_answer_is_said(half: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(half)

        thread = threading.Thread(target=serve)
        thread.start()
        heard: list[str] = []
        with ServerLink(f"http://127.0.0.1:{listening.getsockname()[1]}") as link:
            answer = ServerTalk(link, is_read_only=True).answer("status", Listener(on_text=heard.append))
        thread.join()
    assert answer.exit_status == 1
    assert "broke off in mid-answer" in answer.text


def test_trouble_with_one_change_leaves_the_others_outcome(chat: ChatStage, stage: Stage, url: str) -> None:
    goals = [
        calling("set_goal", metric="delay_ms", slice="control", value=20),
        calling("set_goal", metric="delay_ms", slice="video", value=50),
    ]
    chat.says(*goals, saying("Nothing is known."))
    seen: list[Pending] = []

    def decide(pending: Pending) -> bool:
        seen.append(pending)
        if len(seen) == 2:
            waiting = chat.conversations._waiting
            waiting.drop(next(key for key, change in waiting._known.items() if change.pending == pending))
        return True

    with ServerLink(url) as link:
        answer = ServerTalk(link, is_read_only=False).answer("two goals", Listener(decide=decide))
    assert len(seen) == 2
    assert [goal.id for _, _, goal in stage.operations.goals.live()] == ["chat-delay-ms-control"]
    assert "Goal set: control within 20 ms" in answer.calls[0]["result"]["text"]
    assert "refuses" in answer.text
    assert answer.exit_status == 5


def test_changes_with_a_model_of_ones_own_are_refused_by_name(tmp_path: Path) -> None:
    options = RoomOptions(server="http://127.0.0.1:1", is_read_only=False)
    with pytest.raises(AgentInputInvalid, match="--allow-changes: with --model scripted"):
        open_talk(options, "scripted", tmp_path, name=None, is_resumed=False)
