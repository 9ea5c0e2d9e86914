"""A server says that it is not ready once its loop or its edges stand still, and how old its news is."""

from __future__ import annotations

import pytest

from api.metrics import Metrics
from api.serving import ServeOptions, settings_for
from api.settings import ApiSettings
from tests.api_stage import client_for

SETTINGS = ApiSettings(stale_after_s=50.0)


@pytest.fixture
def metrics(stage, clock) -> Metrics:
    """On the stage's clock."""
    stage.operations.metrics = Metrics(clock)
    return stage.operations.metrics


async def readiness(stage) -> tuple[int, str]:
    async with client_for(stage.operations, SETTINGS) as client:
        answer = await client.get("/readyz")
    return answer.status_code, answer.json()["loop"]


async def test_a_loop_that_hangs_is_not_ready(stage, clock, metrics):
    assert await readiness(stage) == (503, "waiting for the first interval")
    stage.operations.turn()
    clock.now_s += 50.0
    assert await readiness(stage) == (200, "turning")
    clock.now_s += 1.0
    assert await readiness(stage) == (503, "the latest turn is 51 s old, at most 50 s is normal")


async def test_a_loop_that_turns_on_old_digests_is_not_ready(stage, clock, metrics, monkeypatch):
    stage.operations.turn()
    held = stage.operations.digests
    monkeypatch.setattr(stage.operations._loop.pipeline, "digest", lambda *_: held)
    for _ in range(6):
        clock.now_s += 10.0
        stage.operations.turn()
    assert await readiness(stage) == (503, "the latest digest is 60 s old, at most 50 s is normal")


async def test_why_the_loop_stands_still_is_told_first(stage, clock, metrics):
    stage.operations.turn()
    stage.operations.failure = "NetworkSilent: no cell has sent a digest for 30 s"
    clock.now_s += 1000.0
    assert await readiness(stage) == (503, "NetworkSilent: no cell has sent a digest for 30 s")


async def test_the_age_of_the_digests_grows_until_the_next_one(stage, clock, metrics):
    def shown_s() -> float:
        lines = metrics.render().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("edgewright_digest_age_seconds ")))

    stage.operations.turn()
    assert shown_s() == 0.0
    clock.now_s += 12.0
    assert shown_s() == 12.0
    stage.operations.turn()
    assert shown_s() == 0.0


def test_what_is_normal_follows_the_pace():
    assert settings_for(ServeOptions(interval_s=10.0, pace_s=60.0)).stale_after_s == 300.0
    assert settings_for(ServeOptions(interval_s=10.0, pace_s=0.0)).stale_after_s == 50.0


@pytest.mark.parametrize(
    ("host", "are_needed"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("lan", True)],
)
def test_where_others_can_reach_a_server_tokens_are_always_needed(host, are_needed):
    assert settings_for(ServeOptions(host=host)).tokens_are_needed is are_needed
