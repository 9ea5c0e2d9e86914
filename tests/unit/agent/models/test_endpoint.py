"""An OpenAI-compatible endpoint as the policy model, against a real HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import numpy as np
import pytest

from agent.baselines import uniform
from agent.bootstrap import AbsentModel, load_model_or_absent
from agent.errors import AgentInputInvalid, ModelUnavailable
from agent.expert import Expert
from agent.models.endpoint import EndpointModel
from agent.planner import GatedModelPlanner, Source
from agent.pretraining.examples import random_digest, random_terms
from agent.prompting import Prompt, parse_answer, write_answer
from agent.settings import EndpointSettings, read_endpoint_settings
from tests.replay_stage import SCOPE, run_replay

KEY = "sk-never-to-be-told"

Reply = Callable[["_Handler", dict[str, Any]], None]


class _Handler(BaseHTTPRequestHandler):
    """Answers with what the test put into the script; keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.server.stage.headers.append(dict(self.headers))
        self.send_body(200, json.dumps(self.server.stage.models))

    def do_POST(self) -> None:
        stage = self.server.stage
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stage.headers.append(dict(self.headers))
        with stage.lock:
            stage.asked.append({"path": self.path, **body})
            reply = stage.replies.pop(0) if len(stage.replies) > 1 else stage.replies[0]
        try:
            reply(self, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def send_body(self, status: int, text: str, kind: str = "application/json") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def send_event(self, content: str) -> None:
        event = json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]})
        self.wfile.write(f": keep-alive\n\ndata: {event}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Silent."""


@dataclass(slots=True)
class Stage:
    """The server's script and its memory."""

    url: str = ""
    models: Any = field(default_factory=lambda: {"object": "list", "data": [{"id": "tiny-chat", "object": "model"}]})
    replies: list[Reply] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_over: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stage: Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    found = Stage()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stage = found
    found.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.is_over.set()
    server.shutdown()
    server.server_close()
    thread.join()


def case(seed: int) -> tuple[Any, Any, Prompt]:
    rng = np.random.default_rng(seed)
    digest = random_digest(rng)
    terms = random_terms(rng, digest)
    return digest, terms, Expert().foresee(digest, terms).prompt


def good_answer(body: dict[str, Any]) -> str:
    """An equal split for as many slices as the schema asks for."""
    schema = body["response_format"]["json_schema"]["schema"]
    names = [name for name in schema["properties"] if name.isdecimal()]
    row = {"min": 100 // len(names), "sch": "pf", "cpu": 100 // len(names), "off": "edge", "rep": 1}
    return json.dumps({**dict.fromkeys(names, row), "pow": 0, "why": ["steady"]})


def streams(text: Callable[[dict[str, Any]], str]) -> Reply:
    """The text in a hundred pieces or fewer, then the end mark."""

    def reply(handler: _Handler, body: dict[str, Any]) -> None:
        handler.begin_stream()
        whole = text(body)
        size = max(7, len(whole) // 100)
        for start in range(0, len(whole), size):
            handler.send_event(whole[start : start + size])
        handler.wfile.write(b"data: [DONE]\n\n")

    return reply


def says(status: int, text: str) -> Reply:
    return lambda handler, _: handler.send_body(status, text)


valid = streams(good_answer)


def test_a_streamed_answer_becomes_a_plan(stage: Stage) -> None:
    stage.replies = [valid]
    model = EndpointModel(url=stage.url)
    prompts = [case(seed)[2] for seed in range(6)]
    answers = model.answer(prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert len(parse_answer(answer.text, prompt).slices) == prompt.num_slices
        assert answer.num_tokens > 0
    assert model.name == "tiny-chat"
    assert sorted(one["messages"][1]["content"] for one in stage.asked) == sorted(p.text for p in prompts)


def test_the_request_carries_schema_temperature_and_a_token_limit(stage: Stage) -> None:
    stage.replies = [valid]
    EndpointModel(url=stage.url + "#other").answer([case(1)[2]])
    asked = stage.asked[0]
    assert (asked["path"], asked["model"], asked["temperature"]) == ("/v1/chat/completions", "other", 0)
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["max_tokens"] < 1000
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    assert '"additionalProperties":false' in asked["messages"][0]["content"]


def test_a_server_that_does_not_stream_is_understood(stage: Stage) -> None:
    def reply(handler: _Handler, body: dict[str, Any]) -> None:
        message = {"role": "assistant", "content": good_answer(body)}
        handler.send_body(200, json.dumps({"choices": [{"message": message}], "usage": {"completion_tokens": 42}}))

    stage.replies = [reply]
    _, _, prompt = case(2)
    (answer,) = EndpointModel(url=stage.url).answer([prompt])
    assert parse_answer(answer.text, prompt)
    assert answer.num_tokens == 42


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda _: "Certainly! Here is the plan.", "answer 'Certainly!"),
        (lambda body: good_answer(body).replace('"pf"', '"fifo"'), "fifo"),
        (lambda body: good_answer(body).replace('"cpu": ', '"cpu": 9'), "cpu"),
        (lambda _: "", "answer ''"),
    ],
    ids=["prose", "unknown scheduler", "over budget", "silence"],
)
def test_an_invalid_answer_goes_back_once_with_what_was_wrong(stage: Stage, wrong: Any, told: str) -> None:
    stage.replies = [streams(wrong), valid]
    _, _, prompt = case(3)
    (answer,) = EndpointModel(url=stage.url).answer([prompt])
    assert parse_answer(answer.text, prompt).is_within_budget
    roles = [one["role"] for one in stage.asked[1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert told in stage.asked[1]["messages"][3]["content"]


def test_nonsense_twice_is_the_planners_to_count(stage: Stage) -> None:
    stage.replies = [streams(lambda _: "no")]
    digest, terms, _ = case(4)
    planner = GatedModelPlanner(model=EndpointModel(url=stage.url))
    (decided,) = planner.decide([digest], [terms], [uniform(digest, terms)]).cells
    assert (decided.source, decided.is_valid, decided.answer) == (Source.FALLBACK, False, "no")
    assert len(stage.asked) == 2


def test_a_valid_answer_passes_through_the_planner(stage: Stage) -> None:
    digest, terms, prompt = case(5)
    best = write_answer(uniform(digest, terms))
    stage.replies = [streams(lambda _: best)]
    (decided,) = (
        GatedModelPlanner(model=EndpointModel(url=stage.url), tolerance=2.0)
        .decide([digest], [terms], [uniform(digest, terms)])
        .cells
    )
    assert decided.source is Source.MODEL
    assert decided.prompt == prompt.text


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (says(500, "out of\nmemory"), "status 500: 'out of memory'"),
        (says(401, f'{{"error": "wrong key {KEY}"}}'), "status 401"),
        (says(429, "slow down"), "status 429"),
        (says(302, ""), "status 302"),
        (says(200, "<html>"), "expected JSON"),
        (says(200, "[1]"), "expected a JSON object"),
        (says(200, '{"error": {"message": "no such model"}}'), "no such model"),
    ],
    ids=["500", "401", "429", "302", "html", "list", "error in 200"],
)
def test_refusals_are_told_without_the_key(stage: Stage, reply: Reply, told: str) -> None:
    stage.replies = [reply]
    model = EndpointModel(url=stage.url, settings=EndpointSettings(api_key=KEY))
    with pytest.raises(ModelUnavailable) as caught:
        model.answer([case(6)[2]])
    assert told in str(caught.value)
    assert KEY not in str(caught.value)
    assert stage.headers[-1]["authorization"] == f"Bearer {KEY}"


def test_an_error_inside_a_stream_is_told(stage: Stage) -> None:
    def reply(handler: _Handler, _: dict[str, Any]) -> None:
        handler.begin_stream()
        handler.send_event("{")
        handler.wfile.write(b'data: {"error": {"message": "worker died"}}\n\n')

    stage.replies = [reply]
    with pytest.raises(ModelUnavailable, match="worker died"):
        EndpointModel(url=stage.url).answer([case(7)[2]])


def test_a_stream_cut_off_in_the_middle_is_unavailable_not_a_traceback(stage: Stage) -> None:
    def reply(handler: _Handler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("content-length", "5000")
        handler.end_headers()
        handler.send_event('{"1":')
        handler.close_connection = True

    stage.replies = [reply]
    with pytest.raises(ModelUnavailable, match="RemoteProtocolError"):
        EndpointModel(url=stage.url).answer([case(8)[2]])


@pytest.mark.parametrize("piece", ["data: {}\n\n", ": wait\n\n", "x", '{"choices":[]}'], ids=repr)
def test_an_endless_stream_ends_at_the_byte_limit(stage: Stage, piece: str) -> None:
    def reply(handler: _Handler, _: dict[str, Any]) -> None:
        handler.begin_stream()
        while not stage.is_over.is_set():
            handler.wfile.write(piece.encode() * (65_536 // len(piece)))

    stage.replies = [reply]
    with pytest.raises(ModelUnavailable, match="exceeds 1000000 bytes"):
        EndpointModel(url=stage.url).answer([case(9)[2]])


def test_an_endless_answer_ends_at_the_text_limit(stage: Stage) -> None:
    def reply(handler: _Handler, _: dict[str, Any]) -> None:
        handler.begin_stream()
        while not stage.is_over.is_set():
            handler.send_event("and so on, " * 20)

    stage.replies = [reply]
    with pytest.raises(ModelUnavailable, match="exceeds 16000 characters"):
        EndpointModel(url=stage.url).answer([case(10)[2]])
    assert len(stage.asked) == 1


@pytest.mark.parametrize("text", ["[" * 15_000, '{"1":' * 3_000 + "1" + "}" * 3_000], ids=["lists", "objects"])
def test_nesting_beyond_reading_falls_back(stage: Stage, text: str) -> None:
    stage.replies = [streams(lambda _: text)]
    digest, terms, _ = case(11)
    planner = GatedModelPlanner(model=EndpointModel(url=stage.url))
    (decided,) = planner.decide([digest], [terms], [uniform(digest, terms)]).cells
    assert (decided.source, decided.is_valid) == (Source.FALLBACK, False)


def test_a_server_that_says_nothing_is_left_at_the_time_limit(stage: Stage) -> None:
    def reply(_handler: _Handler, _body: dict[str, Any]) -> None:
        stage.is_over.wait(30)

    stage.replies = [reply]
    model = EndpointModel(url=stage.url + "#named", settings=EndpointSettings(timeout_s=0.5))
    with pytest.raises(ModelUnavailable, match=r"ReadTimeout|no answer within"):
        model.answer([case(12)[2]])
    stage.is_over.set()


def test_a_dripping_server_is_left_at_the_time_limit(stage: Stage) -> None:
    def reply(handler: _Handler, _: dict[str, Any]) -> None:
        handler.begin_stream()
        while not stage.is_over.wait(0.001):
            handler.send_event(" ")

    stage.replies = [reply]
    ticks = count()
    model = EndpointModel(url=stage.url, settings=EndpointSettings(timeout_s=60), clock=lambda: float(next(ticks)))
    with pytest.raises(ModelUnavailable, match="did not end in time"):
        model.answer([case(13)[2]])


def test_an_endpoint_that_keeps_failing_is_left_alone_for_a_while(stage: Stage) -> None:
    stage.replies = [says(503, "away")]
    now_s = 0.0
    model = EndpointModel(url=stage.url, clock=lambda: now_s)
    prompt = case(14)[2]
    for _ in range(5):
        with pytest.raises(ModelUnavailable):
            model.answer([prompt])
    assert len(stage.asked) == 3
    with pytest.raises(ModelUnavailable, match="resting"):
        model.answer([prompt])
    now_s = 31.0
    stage.replies = [valid]
    assert model.answer([prompt])


@pytest.mark.parametrize("models", [{}, {"data": []}, {"data": [{"id": 7}]}, []], ids=repr)
def test_a_server_without_a_model_asks_for_a_name(stage: Stage, models: Any) -> None:
    stage.models = models
    with pytest.raises(ModelUnavailable):
        EndpointModel(url=stage.url)
    stage.replies = [valid]
    assert EndpointModel(url=stage.url + "#named").answer([case(15)[2]])


def test_an_absent_server_gives_a_stand_in_and_a_reason() -> None:
    model, warning = load_model_or_absent("http://127.0.0.1:9/v1")
    assert isinstance(model, AbsentModel)
    assert "endpoint 127.0.0.1" in warning


@pytest.mark.parametrize("url", ["http://", "https:///v1", "ftp://host/v1"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ModelUnavailable, match="expected http"):
        EndpointModel(url=url)


def test_no_prompts_need_no_request(stage: Stage) -> None:
    assert EndpointModel(url=stage.url).answer([]) == ()


def test_the_key_comes_from_the_environment_and_is_never_shown() -> None:
    settings = read_endpoint_settings({"EDGEWRIGHT_MODEL_API_KEY": KEY, "EDGEWRIGHT_MODEL_TIMEOUT_S": "5"})
    assert (settings.api_key, settings.timeout_s) == (KEY, 5.0)
    assert KEY not in repr(settings)
    assert read_endpoint_settings({}).api_key is None


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "1e9"])
def test_an_impossible_time_limit_is_refused(text: str) -> None:
    with pytest.raises(AgentInputInvalid, match="EDGEWRIGHT_MODEL_TIMEOUT_S"):
        read_endpoint_settings({"EDGEWRIGHT_MODEL_TIMEOUT_S": text})


def test_an_endpoint_drives_a_replay_and_its_failures_are_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.replies = [valid]
    arguments = (SCOPE, "--planner", "llm_raw", "--model", stage.url, "--json")
    whole = run_replay(monkeypatch, capsys, *arguments)
    assert whole.status == 0, whole.err
    document = json.loads(whole.out)
    assert (document["model"], document["sources"]["model"], document["warnings"]) == ("tiny-chat", 8, [])
    stage.replies = [valid, valid, valid, says(503, "away")]
    broken = run_replay(monkeypatch, capsys, *arguments)
    assert broken.status == 0
    document = json.loads(broken.out)
    assert (document["sources"]["model"], document["sources"]["none"]) == (3, 5)
    assert "5 of 8 questions to the model had no answer" in broken.err
    assert document["warnings"]
