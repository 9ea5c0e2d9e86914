"""What the operator API takes and gives, beyond the contracts themselves."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict, StringConstraints

from agent.gate.risk import Mode
from agent.gate.stops import MaintenanceWindow
from agent.goal import Expectation, Goal

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[int, Ge(0), Le(2**31 - 1)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GoalBody(_Body):
    """A goal without its id, which is the path's."""

    expectations: Annotated[tuple[Expectation, ...], MaxLen(32)]
    priority: Annotated[int, Ge(0), Le(100)] = 0
    valid_until_s: Annotated[float, Gt(0)] | None = None


class PlanRequest(_Body):
    """What to plan for; nothing is kept unless it is submitted."""

    goals: Annotated[tuple[Goal, ...], MaxLen(100)] | None = None
    """Instead of the live goals: a what-if."""
    keep: bool = False
    """Note the plan under its version, to be submitted by its hash later; only with the live goals."""
    submit: bool = False
    """Send the plan through the gate; only with the live goals."""


class ApprovalRequest(_Body):
    """One person's word for one policy."""

    policy_version: Version
    policy_hash: Hash
    reason: Text
    lifetime_s: Annotated[float, Gt(0), Le(86_400)] = 600.0


class RejectionRequest(_Body):
    """One person's no."""

    reason: Text


class RollbackRequest(_Body):
    """Where to go back to, and why."""

    to_version: Version
    reason: Text


class SubmissionRequest(_Body):
    """Which content is to go out."""

    policy_hash: Hash
    hold: bool = False
    """Wait for an approval even where the mode would let it pass without one."""


class ChatRequest(_Body):
    """A sentence or a command for the chat."""

    request: Annotated[str, StringConstraints(min_length=1, max_length=4000)]
    session: Annotated[str, StringConstraints(pattern=r"^~?[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    """A name of one's own, kept until it is used again; without one the answer names a session that is not kept."""
    read_only: bool = True
    """Nothing can be changed, whatever the token's role."""


class ConfirmationRequest(_Body):
    """One person's yes or no to a change that the chat described."""

    pending_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    binding: Hash
    """Of what was shown."""
    is_agreed: bool


class ChatAnswer(BaseModel):
    """An answer with the calls and evidence behind it."""

    session: str
    request: str
    answer: str
    tool_calls: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    pending: list[dict[str, Any]]
    """Changes that wait for a person, each with its id, what it comes to and the binding of that."""
    exit_status: int
    tokens: dict[str, int]
    timings: dict[str, float]


class StopsBody(_Body):
    """The operators' switches; what is left out stays as it is."""

    mode: Mode | None = None
    is_killed: bool | None = None
    freeze_s: Annotated[float, Ge(0), Le(30 * 86_400)] | None = None
    """From now on; 0 ends a freeze."""
    maintenance: Annotated[tuple[MaintenanceWindow, ...], MaxLen(100)] | None = None


class Page(BaseModel):
    """A part of a list."""

    items: list[dict[str, Any]]
    next: str | None = None
    """Pass as `cursor` for the rest; null at the end."""
