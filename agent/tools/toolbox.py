"""The tools as LangChain sees them: typed arguments in, JSON out; an error is an answer too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from agent.control_room import ControlRoom
from agent.errors import AgentError, AgentInputInvalid
from agent.tools import acting, looking, reasoning, what_if
from agent.tools.finding import Finding
from telemetry_sim.errors import TelemetrySimError

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

LOOKING: tuple[Callable[..., Finding], ...] = (
    looking.network_status,
    looking.find_worst,
    looking.describe_topology,
    looking.show_history,
    looking.search_incidents,
    looking.list_goals,
    looking.write_report,
    reasoning.propose_plan,
    reasoning.show_diff,
    reasoning.explain_decision,
    reasoning.compare_planners,
    what_if.what_if_down,
    what_if.what_if_demand,
    what_if.what_if_share,
)
ACTING: tuple[Callable[..., Finding], ...] = (
    acting.request_approval,
    acting.approve_plan,
    acting.reject_plan,
    acting.apply_plan,
    acting.roll_back,
    acting.set_goal,
    acting.clear_goals,
)


class Toolbox:
    """Calls the tools on one room, one at a time, and remembers what they found."""

    def __init__(self, room: ControlRoom) -> None:
        self.room = room
        self.found: list[tuple[str, dict[str, Any], Finding]] = []
        """Tool, arguments and result since the last `clear`."""
        self._tools = {tool.__name__: tool for tool in (*LOOKING, *ACTING)}
        self._lock = threading.Lock()
        self._is_closed = False
        self._being_made = ""
        """The change whose end nobody has seen yet."""

    @property
    def told_changes(self) -> list[str]:
        """What came of the changes since the last `clear`, also of one whose end nobody has seen yet."""
        ended = [_first_line(finding) for name, _, finding in self.found if name in acting.STATE_CHANGING]
        return [*ended, f"{self._being_made.replace('_', ' ')} may have been done"] if self._being_made else ended

    def call(self, name: str, arguments: dict[str, Any]) -> Finding:
        """The tool's finding; its own error, and arguments that it doesn't take, become one, with an exit status."""
        with self._lock:
            if self._is_closed:
                return Finding(text="Not done: nobody waits for it any more.", exit_status=1)
            self._being_made = name if name in acting.STATE_CHANGING else ""
            try:
                finding = self._find(name, arguments)
                self.found.append((name, arguments, finding))
            finally:
                self._being_made = ""
            return finding

    def close(self) -> None:
        """Call nothing more; a call that is being made ends first."""
        self._is_closed = True
        with self._lock:
            pass

    def _find(self, name: str, arguments: dict[str, Any]) -> Finding:
        try:
            self._refuse_unknown(name, arguments)
            return self._tools[name](self.room, **arguments)
        except (AgentError, TelemetrySimError) as error:
            return Finding(text=f"Not done: {error}.", data={"error": str(error)}, exit_status=error.exit_status)

    def _refuse_unknown(self, name: str, arguments: dict[str, Any]) -> None:
        known = [parameter for parameter in signature(self._tools[name]).parameters if parameter != "room"]
        unknown = [argument for argument in arguments if argument not in known]
        if unknown:
            raise AgentInputInvalid(f"{name} takes {known}, got {unknown}")

    def note(self, name: str, arguments: dict[str, Any], finding: Finding) -> None:
        """Keep what came of a call that was not made."""
        self.found.append((name, arguments, finding))

    def as_langchain(self) -> list[BaseTool]:
        """Every tool; the acting ones are left out of a read-only session."""
        from langchain_core.tools import StructuredTool
        from pydantic import create_model

        tools: list[BaseTool] = []
        for tool in (*LOOKING, *(() if self.room.is_read_only else ACTING)):
            fields: dict[str, Any] = {
                p.name: (_annotation(p), ... if p.default is Parameter.empty else p.default)
                for p in signature(tool, eval_str=True).parameters.values()
                if p.name != "room"
            }
            tools.append(
                StructuredTool.from_function(
                    func=self._caller(tool.__name__),
                    name=tool.__name__,
                    description=(tool.__doc__ or tool.__name__).splitlines()[0],
                    args_schema=create_model(f"{tool.__name__}_arguments", **fields),
                )
            )
        return tools

    def _caller(self, name: str) -> Callable[..., str]:
        def run(**arguments: Any) -> str:
            return self.call(name, arguments).to_json()

        return run


def _first_line(finding: Finding) -> str:
    return finding.text.partition("\n")[0].rstrip(".")


def _annotation(parameter: Parameter) -> Any:
    return parameter.annotation
