"""An edge node as a process: lines of telemetry in, digests out, no interval lost or repeated by a restart.

A line is journalled before anything is made of it; once the journal is full, lines of the same interval are only
counted. At the end of an interval the digests are written, then the state,
then a new journal is begun. The state says how long the digest file was and which lines of which journal it covers, so
that a process that dies between any two of these steps leaves enough to go on exactly where it was. It also says up to
where the digests are known to have arrived at an outbox; the others are sent again, so that each arrives at least once.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_preprocess.clock_check import ClockCheck
from edge_preprocess.digest_file import DigestFile
from edge_preprocess.edge_state import load_state, save_state
from edge_preprocess.errors import SourceUnreadable, StateUnreadable
from edge_preprocess.file_marks import mark
from edge_preprocess.intervals import interval_number
from edge_preprocess.journal import Journal
from edge_preprocess.open_interval import OpenInterval
from edge_preprocess.pipeline import EdgePipeline
from edge_preprocess.wire import Unreadable, parse_line
from telemetry_sim.records import LogRecord, TelemetryFrame
from telemetry_sim.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from edge_preprocess.digest import EdgeDigest

LOG = logging.getLogger("edgewright.edge")
_PREFIX = "pipeline."
_MAX_DOUBTED = 1_000
"""Frames with an unbelievable time that are held in a row; the rows of more are counted and dropped."""
MOST_RECENT = 50
"""Lines that a source may have sent without knowing that they arrived."""


class Outbox(Protocol):
    """Where digests are sent once they are on disk."""

    @property
    def is_empty(self) -> bool:
        """Whether all that was published has arrived."""

    def publish(self, digest: EdgeDigest) -> None:
        """Send, now or as soon as it can be."""


class EdgeNode:
    """Takes lines one by one; one process per folder.

    With `is_journalled` False the source must be one that can be read again from `position`; a second topology in it is
    then an error. On a stream, which anyone may write to, such a line is counted and dropped.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        *,
        interval_s: float = 10.0,
        topology: Topology | None = None,
        is_journalled: bool = True,
        with_sla_risk: bool = False,
        outbox: Outbox | None = None,
    ) -> None:
        self._state_path = folder / "edge.state"
        self._out = DigestFile(out)
        self._interval_s = interval_s
        self._with_sla_risk = with_sla_risk
        self._outbox = outbox
        self._arrived_bytes = 0
        """What the digest file begins with that is known to have arrived."""
        self._topology: Topology | None = None
        self._pipeline: EdgePipeline | None = None
        self._number: int | None = None
        self._clock = ClockCheck()
        self._num_doubted = 0
        """Frames in the open interval since the last one whose time was believed."""
        self._num_dropped = 0
        """Lines of the open interval that the journal had no room for."""
        self._open = OpenInterval()
        self._recent: deque[str] = deque(maxlen=MOST_RECENT)
        self.num_digests = 0
        """Written by this process."""
        self.position = 0
        """Offset of the first line that is in no saved digest."""
        self._source_mark = ""
        """Of what the source held before the position; empty where that is not known."""
        self._mark_source: Callable[[int], str] = _unmarked
        with _for_writing(folder):
            covered = self._restore()
        if topology is not None:
            self._meet(topology)
        with _for_writing(folder):
            self._journal = Journal(folder / "edge.journal") if is_journalled else None
        if self._journal is not None:
            self._replay(self._journal, covered)

    @property
    def recent(self) -> tuple[str, ...]:
        """Marks of the newest lines taken, oldest first: a source may bring these again after a restart."""
        return tuple(self._recent)

    def read_from(self, mark_source: Callable[[int], str]) -> None:
        """Take lines of a source that can be read again; `mark_source` gives a mark of what it holds before an offset.

        Raises SourceUnreadable where the state's lines came from another.
        """
        if self._source_mark and mark_source(self.position) != self._source_mark:
            raise SourceUnreadable(
                f"the source's first {self.position} bytes are not those that were read before: it was replaced; a new "
                f"--state folder is needed, not {str(self._state_path.parent)!r}"
            )
        self._mark_source = mark_source

    def accept(self, raw: bytes, *, offset: int = 0) -> None:
        """Take one line; `offset` is where it begins in a source that can be read again."""
        if self._journal is None:
            self._take(raw, offset)
            return
        if self._journal.is_full and not self._ends_interval(raw):
            self._drop(raw)
        else:
            self._journal.append(raw)
            self._take(raw, offset)
        self._recent.append(mark(raw))

    @property
    def untold(self) -> Mapping[str, int]:
        """What could not be taken since the last digest, by reason: no digest tells of it yet."""
        return self._open.unreadable

    def leave(self, reason: str) -> None:
        """Count a line that is left where it is."""
        self._open.unreadable[reason] += 1

    def finish(self, *, offset: int = 0) -> None:
        """The source has ended at `offset`: write the open interval too."""
        if self._open:
            self._close_interval(None, offset, self._clock.state())
            self._number = None

    def stop(self) -> None:
        """Leave; the open interval goes on with the next start."""
        if self._journal is not None:
            self._journal.close()

    def _ends_interval(self, raw: bytes) -> bool:
        """Whether the line brings the next interval, and with it a new journal."""
        found = parse_line(raw)
        if not isinstance(found, TelemetryFrame):
            return False
        before = self._clock.state()
        is_believed = not self._clock.judge(found.time_s, found.period_s)
        number = interval_number(found.time_s, self._interval_s) if is_believed else self._number
        if self._number is None or number is None or number == self._number:
            # What the clock has seen stays seen: a leap is believed once another frame carries on from it.
            return False
        self._clock.restore(before)
        return True

    def _drop(self, raw: bytes) -> None:
        """Count a line that there is no room for until the next interval, and hold nothing of it."""
        found = parse_line(raw)
        if isinstance(found, TelemetryFrame):
            self._open.refuse_rows(found, "journal_full")
        else:
            self._open.unreadable["journal_full"] += 1
        self._num_dropped += 1
        if self._num_dropped.bit_count() == 1:
            LOG.warning("the journal is full and time stands still: %d lines have been dropped", self._num_dropped)

    def _take(self, raw: bytes, offset: int) -> None:
        found = parse_line(raw)
        if isinstance(found, TelemetryFrame):
            self._take_frame(found, raw, offset)
        elif isinstance(found, LogRecord):
            self._open.hold_log(found)
        elif isinstance(found, Unreadable):
            self._open.unreadable[str(found)] += 1
        elif self._journal is not None and self._topology not in (None, found):
            self._open.unreadable["line_other_topology"] += 1
        else:
            self._meet(found)

    def _take_frame(self, frame: TelemetryFrame, raw: bytes, offset: int) -> None:
        before = self._clock.state()
        doubt = self._clock.judge(frame.time_s, frame.period_s)
        if not doubt:
            number = interval_number(frame.time_s, self._interval_s)
            # An earlier one, too: its time was believed only because the clock has stepped back.
            if self._number is not None and number != self._number:
                self._close_interval(raw, offset, before)
            self._number = number
            self._num_doubted = 0
        elif self._num_doubted >= _MAX_DOUBTED:
            # Time may stand still for good: what is refused anyway must not fill the memory.
            self._open.refuse_rows(frame, doubt)
            return
        self._num_doubted += bool(doubt)
        self._open.hold_frame(frame)

    def _meet(self, topology: Topology) -> None:
        if self._topology is None:
            self._topology = topology
            self._pipeline = EdgePipeline(topology, interval_s=self._interval_s, with_sla_risk=self._with_sla_risk)
        elif topology != self._topology:
            raise SourceUnreadable(
                f"a topology of {len(topology.cells)} cells and {len(topology.slices)} slices differs from the one "
                f"known here; one topology per edge node is allowed, another needs another --state folder"
            )

    def _close_interval(self, next_line: bytes | None, offset: int, clock: Sequence[float]) -> None:
        """Write what came in; `clock` is what was known of time before the next line."""
        if self._pipeline is None:
            raise SourceUnreadable("telemetry came before any topology; give --topology or begin with a topology line")
        came = self._open
        digests = self._pipeline.digest(came.frames, came.logs, unreadable=came.unreadable)
        if self._outbox is not None and self._outbox.is_empty:
            self._arrived_bytes = self._out.num_bytes
        written = self._out.add(digests)
        self._open = OpenInterval()
        self._num_dropped = 0
        self.num_digests += len(digests)
        self.position = offset
        self._save(written, clock, num_open=0 if next_line is None else 1)
        if self._journal is not None:
            self._journal.begin(self._journal.generation + 1, [] if next_line is None else [next_line])
        if self._outbox is not None:
            for digest in digests:
                self._outbox.publish(digest)

    def _save(self, written: Mapping[str, Any], clock: Sequence[float], *, num_open: int) -> None:
        if self._pipeline is None or self._topology is None:
            return
        journal = self._journal
        about = {
            **written,
            "arrived_bytes": written["out_bytes"] if self._outbox is None else self._arrived_bytes,
            "position": self.position,
            "source_mark": self._mark_source(self.position),
            "generation": -1 if journal is None else journal.generation,
            "num_covered": 0 if journal is None else journal.num_lines - num_open,
            "interval_s": self._interval_s,
            "clock": clock,
            "recent": list(self._recent),
            "with_sla_risk": self._with_sla_risk,
            "topology": self._topology.model_dump(mode="json"),
        }
        state = {f"{_PREFIX}{name}": part for name, part in self._pipeline.state().items()}
        state["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        save_state(self._state_path, state)

    def _restore(self) -> tuple[int, int]:
        """Take up the saved state; returns the journal's generation that it covers, and how many of its lines."""
        state = load_state(self._state_path)
        if state is None:
            self._out.claim(self._state_path.with_suffix(".begun"))
            return -1, 0
        about = json.loads(state["about"].tobytes())
        if about["interval_s"] != self._interval_s:
            raise StateUnreadable(
                f"{self._state_path}: was written for {about['interval_s']!r} s intervals, not {self._interval_s!r} s"
            )
        if about["with_sla_risk"] != self._with_sla_risk:
            raise StateUnreadable(
                f"{self._state_path}: was written with_sla_risk={about['with_sla_risk']!r}, now not so"
            )
        self._meet(Topology.model_validate(about["topology"]))
        if self._pipeline is not None:
            self._pipeline.restore({k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)})
        self._clock.restore(about["clock"])
        self._recent.extend(about.get("recent", ()))
        self.position = int(about["position"])
        self._source_mark = about.get("source_mark", "")
        self._out.resume(about)
        self._send_again(int(about["arrived_bytes"]))
        return int(about["generation"]), int(about["num_covered"])

    def _send_again(self, arrived_bytes: int) -> None:
        """Send the digests that a process wrote which died before it knew that they had arrived."""
        self._arrived_bytes = min(arrived_bytes, self._out.num_bytes)
        if self._outbox is not None:
            for digest in self._out.digests_from(arrived_bytes):
                self._outbox.publish(digest)

    def _replay(self, journal: Journal, covered: tuple[int, int]) -> None:
        """Take the journal's lines again, but for those that the state covers."""
        generation, num_covered = covered
        lines = journal.lines[num_covered:] if journal.generation == generation else journal.lines
        if journal.generation <= generation:
            journal.begin(generation + 1, lines)
        for line in lines:
            self._take_again(line)
            self._recent.append(mark(line))

    def _take_again(self, line: bytes) -> None:
        """Take a line of the journal; one that breaks the node is given up with what is held, or no start succeeds."""
        try:
            self._take(line, 0)
        except (SourceUnreadable, OSError):
            raise
        except Exception:
            LOG.exception("a journalled line of %d bytes and the open interval are given up", len(line))
            num_lines = len(self._open.frames) + len(self._open.logs) + 1
            self._open = OpenInterval(unreadable=self._open.unreadable + Counter(line_given_up=num_lines))


def _unmarked(offset: int) -> str:
    """Of a source that can't be read again."""
    del offset
    return ""


@contextmanager
def _for_writing(folder: Path) -> Iterator[None]:
    """A folder for the state, made where it is missing; raises StateUnreadable where it can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StateUnreadable(f"--state {str(folder)!r}: permission denied; a writable folder was expected")
        yield
    except OSError as error:
        raise StateUnreadable(f"--state {str(folder)!r}: {error.strerror}; a writable folder was expected") from error
