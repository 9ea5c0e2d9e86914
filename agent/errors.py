"""The errors of the agent, by who can mend them.

AgentError
├── GoalInvalid         the operator must mend the goal
├── GoalInfeasible      no policy can meet it
├── PolicyInvalid       goes back to the model, once
├── PolicyRejected      a guard refused it; it stops here
│   └── ApprovalNeeded  a person must approve it first
├── ModelUnavailable    the model is missing, damaged or away; the optimiser takes over
│   └── ModelAway       it was asked and did not answer; may be tried again
├── DispatchTimeout     may be retried
│   └── BrokerLost      the connection to the broker ended or could not be made
├── DecisionDrift       a replay no longer decides as recorded
├── StoreUnusable       the store can't be opened, or its audit chain is broken
│   └── StoreFull       the disk is full; what was asked is not written
└── AgentInputInvalid   a file or option the agent can't use
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Root of the package's errors."""

    exit_status: ClassVar[int] = 2


class GoalInvalid(AgentError):
    """A goal that names unknown things or contradicts itself."""


class GoalInfeasible(AgentError):
    """A goal that no policy can meet."""

    exit_status: ClassVar[int] = 3


class PolicyInvalid(AgentError):
    """A policy that breaks schema or semantics; the message goes back to the model."""


class PolicyRejected(AgentError):
    """A policy that a guard refused."""

    exit_status: ClassVar[int] = 4


class ApprovalNeeded(PolicyRejected):
    """A policy that waits for a person."""

    exit_status: ClassVar[int] = 5


class ModelUnavailable(AgentError):
    """A model that is missing, damaged or does not answer in time."""


class ModelAway(ModelUnavailable):
    """A model that broke off or could not be reached."""

    exit_status: ClassVar[int] = 1


class DispatchTimeout(AgentError):
    """A target that did not acknowledge in time."""

    exit_status: ClassVar[int] = 1


class BrokerLost(DispatchTimeout):
    """A broker that went away, keeps silent or lets nobody in."""


class DecisionDrift(AgentError):
    """A decision that differs from the recorded one."""

    exit_status: ClassVar[int] = 1


class StoreUnusable(AgentError):
    """A store that can't be opened or trusted."""


class StoreFull(StoreUnusable):
    """A store whose disk is full; nothing was half-written."""


class AgentInputInvalid(AgentError):
    """A file, option or payload the agent can't use."""
