"""A model behind an OpenAI-compatible URL, asked over HTTP in bounded time with bounded answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from agent.errors import ModelUnavailable, PolicyInvalid
from agent.models.event_stream import read_answer
from agent.models.port import Answer
from agent.prompting import Prompt, answer_schema, parse_answer
from agent.settings import EndpointSettings

_CONNECT_S = 5.0
_MAX_AT_ONCE = 4
_MAX_FAILURES: Final = 3
_REST_S: Final = 30.0
"""After _MAX_FAILURES failures in a row nobody waits for the endpoint for this long."""
_MAX_ECHO = 2000
_TOKENS_PER_SLICE, _TOKENS_BESIDE = 64, 96
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_SYSTEM = """You plan the radio and compute shares of one mobile cell for the next interval. The user gives one line
for the cell, then a numbered line per slice; all numbers are integers. load: half percents of the cell's PRBs that the
slice's forecast takes on average (the cell's own load: percent); need, now: percent that it needs for its delay target,
and took last; w: the slice's part of the operator's priority; low, mid: percents at which a fifth and three fifths of
the SLA's credit can be expected; q: packets per delay budget, d: the delay budget (twentieths of a decade), t: one over
the loss allowed, dl: the task deadline, tt: tasks per deadline (tenths of a decade); sd: the demand's deviation in
percent; floor: percent that must be in time; task: percent of the edge CPU asked for, cpu: of all slices together;
back: delay of the backhaul in ms; near: a neighbour's load; up: 0 when a cell is down; save: percent of weight on
saving energy, 0 where a lower power costs more than it saves; log: anomalies seen. lag: how far kinds of plans fall
behind the best one, in thousandths of worth, as a fitted twin of the network foresees it: split by need (mixed
schedulers/pf/edf), pool without guarantees (all min 0; pf/edf), even guarantees (pf/edf).
Answer with one JSON object and nothing else. Its keys "1", "2", ... are the slices: min is the guaranteed percent of
the PRBs and cpu that of the edge CPU, each summing to at most 100 over the slices; sch is the scheduler, off where
tasks are computed, rep the report interval in seconds. pow is the transmit power step in dB, why one or two reasons.
The answer must fit this JSON schema: """


class EndpointModel:
    """Asks an OpenAI-compatible server; an invalid answer goes back once with what was wrong."""

    def __init__(
        self, *, url: str, settings: EndpointSettings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`url` is the server's base, such as http://localhost:8000/v1#model-name; without a name it is asked for one.

        Raises ModelUnavailable where the name can't be had.
        """
        self._settings, self._clock = settings or EndpointSettings(), clock
        parts = _split(url)
        self._host = str(parts.hostname)
        key = self._settings.api_key or ""
        # The client's own error would quote the key.
        if not (key.isascii() and key.isprintable()):
            raise ModelUnavailable(f"endpoint {self._host}: the API key must be printable ASCII, without line ends")
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"
        self._num_failures, self._rests_until_s = 0, 0.0
        self._model = parts.fragment or self._discover()

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._model

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        """One answer for each prompt, a few asked at once; all share one time limit."""
        if self._clock() < self._rests_until_s:
            raise ModelUnavailable(f"endpoint {self._host}: failed {_MAX_FAILURES} times in a row, resting")
        if not prompts:
            return ()
        due_s = self._clock() + self._settings.timeout_s
        try:
            with self._connect() as client, ThreadPoolExecutor(min(_MAX_AT_ONCE, len(prompts))) as pool:
                answers = tuple(pool.map(lambda prompt: self._answer_one(client, prompt, due_s), prompts))
        except ModelUnavailable:
            self._num_failures += 1
            if self._num_failures >= _MAX_FAILURES:
                self._num_failures, self._rests_until_s = 0, self._clock() + _REST_S
            raise
        self._num_failures = 0
        return answers

    def _connect(self) -> httpx.Client:
        """A client for one interval's questions, so that no connection outlives them."""
        headers = {"accept-encoding": "identity"}
        if self._settings.api_key is not None:
            headers["authorization"] = f"Bearer {self._settings.api_key}"
        # A proxy has no business between this process and its own machine.
        return httpx.Client(headers=headers, trust_env=self._host not in _LOOPBACK)

    def _answer_one(self, client: httpx.Client, prompt: Prompt, due_s: float) -> Answer:
        schema = answer_schema(prompt.num_slices)
        system = _SYSTEM + json.dumps(schema, separators=(",", ":"))
        messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt.text}]
        first = self._ask(client, messages, schema, prompt, due_s)
        fault = _fault(first.text, prompt)
        if fault is None:
            return first
        messages += [
            {"role": "assistant", "content": first.text[:_MAX_ECHO]},
            {"role": "user", "content": f"That answer can't be used: {fault}. Answer again, with the JSON alone."},
        ]
        # A second fault is the planner's to count.
        second = self._ask(client, messages, schema, prompt, due_s)
        num_tokens = first.num_tokens + second.num_tokens
        return Answer(text=second.text, num_tokens=num_tokens, num_sampled=num_tokens)

    def _ask(
        self,
        client: httpx.Client,
        messages: list[dict[str, str]],
        schema: dict[str, object],
        prompt: Prompt,
        due_s: float,
    ) -> Answer:
        body = {
            "model": self._model,
            "messages": messages,
            "temperature": 0,
            "seed": 0,
            "max_tokens": _TOKENS_BESIDE + _TOKENS_PER_SLICE * prompt.num_slices,
            "stream": True,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "cell_plan", "strict": True, "schema": schema},
            },
        }
        return self._exchange(client, "POST", "/chat/completions", body, due_s)

    def _discover(self) -> str:
        """The first model that the server names."""
        with self._connect() as client:
            text = self._exchange(client, "GET", "/models", None, self._clock() + self._settings.timeout_s).text
        try:
            name = json.loads(text)["data"][0]["id"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._away(f"/models names no model; give one as {self._base}#NAME") from error
        if not isinstance(name, str) or not name:
            raise self._away(f"/models names {name!r}; expected a text")
        return name

    def _exchange(
        self, client: httpx.Client, method: str, path: str, body: dict[str, Any] | None, due_s: float
    ) -> Answer:
        remaining_s = due_s - self._clock()
        if remaining_s <= 0:
            raise self._away(f"no answer within {self._settings.timeout_s:g} s")
        timeout = httpx.Timeout(remaining_s, connect=min(_CONNECT_S, remaining_s))
        try:
            with client.stream(method, self._base + path, json=body, timeout=timeout) as response:
                return read_answer(response, due_s=due_s, clock=self._clock)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._away(f"{type(error).__name__} {error}".rstrip()) from error
        except ModelUnavailable as error:
            raise self._away(str(error)) from error

    def _away(self, reason: str) -> ModelUnavailable:
        """The error to raise; a server that echoes the key must not bring it into logs."""
        text = f"endpoint {self._host}: {reason}"
        key = self._settings.api_key
        return ModelUnavailable(text if key is None else text.replace(key, "***"))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:
        raise ModelUnavailable(f"endpoint {url!r}: expected http(s)://HOST[:PORT]/v1, with #MODEL if you like")
    return parts


def _fault(text: str, prompt: Prompt) -> str | None:
    """What is wrong with an answer; None when it can be used."""
    try:
        plan = parse_answer(text, prompt)
    except PolicyInvalid as error:
        return str(error)
    return None if plan.is_within_budget else "min or cpu sums to more than 100"
