"""The command `edge`: files that grow, are cut or are replaced, pipes, and files that are not the node's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from edge_preprocess.commands import edge
from edge_preprocess.edge_node import EdgeNode
from edge_preprocess.edge_state import load_state, save_state
from edge_preprocess.errors import SourceUnreadable, StateUnreadable
from tests.edge_stage import uninterrupted


def _command(*arguments):
    result = CliRunner().invoke(edge, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_file_that_grows_is_taken_up_where_it_was_left(tmp_path, lines):
    expected = uninterrupted(tmp_path, lines)
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    for end in (3, 10, 11, 20, len(lines)):
        source.write_bytes(b"".join(lines[:end]) + (lines[end][:10] if end < len(lines) else b""))
        keep = ["--keep-open"] if end < len(lines) else []
        _command(source, "--state", tmp_path / "state", "--out", out, *keep)
    assert out.read_bytes() == expected


def test_sigterm_ends_a_piped_node_and_the_next_one_goes_on(tmp_path, lines):
    expected = uninterrupted(tmp_path, lines)
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", "from edge_preprocess.commands import edge; edge()", "-"]
    command += ["--state", str(tmp_path / "state"), "--out", str(out), "--json"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"".join(lines[:14]))
        process.stdin.flush()
        journal = tmp_path / "state" / "edge.journal"
        # The last of the lines is in the journal once the node has taken all of them.
        while not (journal.exists() and lines[13] in journal.read_bytes()):
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        summary = json.loads(process.stdout.read())
        assert process.wait() == 0
    assert summary["ended"] == "signal"
    result = subprocess.run(command, input=b"".join(lines[14:]), check=True, capture_output=True)
    assert json.loads(result.stdout)["ended"] == "source"
    assert out.read_bytes() == expected


def test_lines_that_no_digest_tells_of_are_told_at_the_end(tmp_path):
    source = tmp_path / "rubbish.jsonl"
    source.write_bytes(b"xx\n[]\n")
    result = _command(source, "--state", tmp_path / "state", "--out", tmp_path / "out.jsonl", "--json")
    summary = json.loads(result.stdout)
    assert (summary["digests"], sum(summary["untold"].values())) == (0, 2)
    assert "2 lines or rows could not be taken and are in no digest: line_" in result.stderr


class TestFilesThatAreNotItsOwn:
    @pytest.fixture
    def begun(self, tmp_path, lines):
        """A node that has written half a minute of digests and stopped."""
        node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
        for line in lines[:14]:
            node.accept(line)
        node.stop()
        return tmp_path

    @pytest.fixture
    def precious(self, tmp_path):
        file = tmp_path / "precious.txt"
        file.write_text("keep me\n" * 10_000)
        return file

    def test_are_not_cut_by_a_first_start(self, tmp_path, precious):
        with pytest.raises(SourceUnreadable, match="already holds"):
            EdgeNode(tmp_path / "state", precious)
        assert precious.read_text() == "keep me\n" * 10_000

    def test_are_not_cut_by_a_start_after_one_that_died(self, tmp_path, lines, precious):
        died = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
        died.accept(lines[0])
        died.stop()
        with pytest.raises(SourceUnreadable, match="already holds"):
            EdgeNode(tmp_path / "state", precious)
        assert precious.read_text() == "keep me\n" * 10_000
        EdgeNode(tmp_path / "state", tmp_path / "out.jsonl").stop()

    def test_are_not_cut_where_the_state_knows_of_another(self, begun, lines, precious):
        with pytest.raises(SourceUnreadable, match=r"out\.jsonl"):
            EdgeNode(begun / "state", precious)
        assert precious.read_text() == "keep me\n" * 10_000
        node = EdgeNode(begun / "state", begun / "out.jsonl")
        for line in lines[14:]:
            node.accept(line)
        node.finish()
        node.stop()
        assert (begun / "out.jsonl").read_bytes() == uninterrupted(begun, lines)

    def test_are_not_cut_where_they_have_taken_the_place_of_its_own(self, begun, precious):
        precious.rename(begun / "out.jsonl")
        with pytest.raises(SourceUnreadable, match="does not hold the digests"):
            EdgeNode(begun / "state", begun / "out.jsonl")
        assert (begun / "out.jsonl").read_text() == "keep me\n" * 10_000

    @pytest.mark.parametrize("exists", [True, False])
    def test_are_begun_with_where_they_hold_nothing(self, begun, lines, exists):
        before = (begun / "out.jsonl").read_bytes()
        if exists:
            (begun / "new.jsonl").touch()
        node = EdgeNode(begun / "state", begun / "new.jsonl")
        for line in lines[14:]:
            node.accept(line)
        node.finish()
        node.stop()
        assert before + (begun / "new.jsonl").read_bytes() == uninterrupted(begun, lines)

    def test_are_told_from_its_own_that_was_moved_with_the_state(self, begun):
        (begun / "moved").mkdir()
        (begun / "out.jsonl").rename(begun / "moved" / "out.jsonl")
        (begun / "state").rename(begun / "moved" / "state")
        before = (begun / "moved" / "out.jsonl").read_bytes()
        EdgeNode(begun / "moved" / "state", begun / "moved" / "out.jsonl").stop()
        assert (begun / "moved" / "out.jsonl").read_bytes() == before

    def test_can_not_be_told_by_a_state_of_an_older_version(self, begun):
        path = begun / "state" / "edge.state"
        state = load_state(path)
        about = json.loads(state["about"].tobytes())
        about = {name: value for name, value in about.items() if name not in {"out", "out_mark", "source_mark"}}
        save_state(path, state | {"about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)})
        before = (begun / "out.jsonl").read_bytes()
        EdgeNode(begun / "state", begun / "out.jsonl").stop()
        assert (begun / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("state", "out", "fault", "named"),
    [
        ("state", "missing/out.jsonl", SourceUnreadable, "--out .*No such file or directory; a writable file"),
        ("state", "full/out.jsonl", SourceUnreadable, "--out .*a writable file was expected"),
        ("full/state", "out.jsonl", StateUnreadable, "--state .*a writable folder was expected"),
    ],
)
def test_what_can_not_be_written_is_told_before_anything_is_read(tmp_path, lines, state, out, fault, named):
    (tmp_path / "full").write_text("a file, no folder")
    reading, writing = os.pipe()
    os.write(writing, lines[0])
    os.close(writing)
    with pytest.raises(fault, match=named) as told:
        _command(f"/dev/fd/{reading}", "--state", tmp_path / state, "--out", tmp_path / out)
    assert told.value.exit_status == 2
    assert os.read(reading, 1 << 20) == lines[0]
    os.close(reading)


def test_digests_never_replace_the_telemetry_they_are_made_of(tmp_path):
    (tmp_path / "in.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "in.jsonl")
    with pytest.raises(SourceUnreadable, match=r"--out .* the same file as SOURCE"):
        _command(tmp_path / "in.jsonl", "--state", tmp_path / "state", "--out", tmp_path / "link.jsonl")


class TestAFileThatWasReadBefore:
    @pytest.fixture
    def source(self, tmp_path, lines):
        """Read to its twentieth line."""
        file = tmp_path / "in.jsonl"
        file.write_bytes(b"".join(lines[:20]))
        _command(file, "--state", tmp_path / "state", "--out", tmp_path / "out.jsonl", "--keep-open")
        return file

    def _again(self, source):
        folder = source.parent
        return _command(source, "--state", folder / "state", "--out", folder / "out.jsonl", "--json")

    def test_is_refused_once_it_was_cut(self, source, lines):
        source.write_bytes(b"".join(lines[:3]))
        before = (source.parent / "out.jsonl").read_bytes()
        with pytest.raises(SourceUnreadable, match="it was cut or replaced"):
            self._again(source)
        assert (source.parent / "out.jsonl").read_bytes() == before

    @pytest.mark.parametrize("changed", [0, 8])
    def test_is_refused_once_another_took_its_place(self, source, lines, changed):
        """The other begins otherwise, or only its later lines differ."""
        other = [*lines[:changed], lines[changed].replace(b"1", b"2"), *lines[changed + 1 :], *lines[1:]]
        source.write_bytes(b"".join(other))
        with pytest.raises(SourceUnreadable, match="it was replaced"):
            self._again(source)

    def test_is_read_on_once_it_grew(self, source, lines):
        source.write_bytes(b"".join(lines))
        assert json.loads(self._again(source).stdout)["ended"] == "source"
        assert (source.parent / "out.jsonl").read_bytes() == uninterrupted(source.parent, lines)


class TestALastLineWithoutAnEnd:
    def _run(self, folder, *options):
        arguments = (folder / "in.jsonl", "--state", folder / "state", "--out", folder / "out.jsonl", "--json")
        return json.loads(_command(*arguments, *options).stdout)

    def test_is_taken_where_it_can_be_read(self, tmp_path, lines):
        (tmp_path / "in.jsonl").write_bytes(b"".join(lines).rstrip(b"\n"))
        assert self._run(tmp_path)["untold"] == {}
        assert (tmp_path / "out.jsonl").read_bytes() == uninterrupted(tmp_path, lines)

    def test_is_told_where_it_was_cut_off_and_read_once_it_is_whole(self, tmp_path, lines):
        (tmp_path / "in.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:-5])
        assert self._run(tmp_path)["untold"] == {"line_cut_off": 1}
        (tmp_path / "in.jsonl").write_bytes(b"".join(lines))
        assert self._run(tmp_path) == {
            "digests": 2,
            "out": str(tmp_path / "out.jsonl"),
            "ended": "source",
            "untold": {},
        }
        told = [json.loads(line)["quality"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert sum(quality["rows_received"] for quality in told) == 24 + 12 + 1

    def test_is_left_to_the_next_start_where_the_interval_is_kept_open(self, tmp_path, lines):
        (tmp_path / "in.jsonl").write_bytes(b"".join(lines).rstrip(b"\n"))
        assert self._run(tmp_path, "--keep-open")["untold"] == {}
        assert self._run(tmp_path)["digests"] == 2
        assert (tmp_path / "out.jsonl").read_bytes() == uninterrupted(tmp_path, lines)
