"""What the environment says; secrets come from nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.errors import AgentInputInvalid

API_KEY_VARIABLE = "EDGEWRIGHT_MODEL_API_KEY"
TIMEOUT_VARIABLE = "EDGEWRIGHT_MODEL_TIMEOUT_S"
_MAX_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """How a model behind a URL is asked."""

    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    """For one interval's questions together, the repair round included."""


def read_endpoint_settings(environment: Mapping[str, str]) -> EndpointSettings:
    """Settings from environment variables; raises AgentInputInvalid."""
    text = environment.get(TIMEOUT_VARIABLE, "60")
    try:
        timeout_s = float(text)
    except ValueError:
        timeout_s = -1.0
    if not 0 < timeout_s <= _MAX_TIMEOUT_S:
        raise AgentInputInvalid(f"{TIMEOUT_VARIABLE} {text!r}: expected seconds above 0, at most {_MAX_TIMEOUT_S:g}")
    return EndpointSettings(api_key=environment.get(API_KEY_VARIABLE) or None, timeout_s=timeout_s)
