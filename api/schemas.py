"""What the operator API takes and gives, beyond the contracts themselves."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agent.gate.risk import Mode
from agent.gate.stops import MaintenanceWindow
from agent.goal import Expectations, Goal, GoalId, NetworkTime, Priority
from edge_preprocess.digest import Count, NonNegative, Ratio

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[int, Ge(0), Le(2**31 - 1)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class GoalBody(_Body):
    """A goal; it may be told without its id, which is the path's."""

    id: GoalId | None = None
    """The path's, where it is told."""
    expectations: Expectations
    priority: Priority = 0
    valid_until_s: NetworkTime | None = None
    """In seconds of the network's time, after its present."""


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


class KpiRow(BaseModel):
    """One slice in one cell over the latest interval, downlink."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    cell: int
    slice: str
    end_s: Annotated[float, Field(description="End of the interval, in seconds of the network's time.")]
    is_stale: Annotated[
        bool, Field(description="Whether the interval is long past: no edge has told of a later one since.")
    ]
    num_devices: Count
    demand_kbps: Annotated[NonNegative, Field(description="Offered to all the slice's devices together, in kbit/s.")]
    served_kbps: Annotated[
        NonNegative,
        Field(
            description="Delivered to all the slice's devices together, in kbit/s. An aggregate: TS 28.552's "
            "DRB.UEThpDl (5.1.1.3.1) is the mean of a single device while data waits for it, which no digest tells."
        ),
    ]
    in_time_ratio: Annotated[
        Ratio, Field(description="Bits delivered within the delay budget over bits offered; 1 where none were offered.")
    ]
    delay_p95_ms: Annotated[
        NonNegative | None,
        Field(
            description="95th percentile of the packet delay of what was served, in ms, waiting included; null where "
            "nothing was served, whether or not something waits. No mean, so not TS 28.552's "
            "DRB.RlcSduDelayDl (5.1.3.3.3)."
        ),
    ]
    prb_used: Annotated[
        NonNegative,
        Field(
            alias="RRU.PrbUsedDl",
            description="Mean number of physical resource blocks used, of this slice. Source: TS 28.552, 5.1.1.2.5.",
        ),
    ]
    guaranteed_kbps: Annotated[
        NonNegative | None,
        Field(
            description="Greatest rate that A1 policies guarantee the slice here, in kbit/s, of those that the cells "
            "in their scope could carry (`/v1/goals` tells of the others); null without one."
        ),
    ]
    is_fulfilled: Annotated[
        bool | None,
        Field(description="Whether every feasible guarantee holds over all cells in its scope; null without one."),
    ]
    units: Annotated[dict[str, str], Field(description="Unit of each figure that has one.")]


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
