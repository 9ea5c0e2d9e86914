"""The `edgewright` script: sub-commands composed from the packages' entry points."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from importlib.metadata import entry_points, version

import click

_GROUP = "edgewright.commands"
_BAD_INPUT = 2
_MOST_SHOWN = 80
_ORDER = ("run", "replay", "chat", "serve", "finetune", "casestudy", "bench", "corpus", "pretrain", "audit")


class _EntryPointGroup(click.Group):
    """A group whose sub-commands are found by entry point and imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        names = {point.name for point in entry_points(group=_GROUP)}
        return [name for name in _ORDER if name in names] + sorted(names - set(_ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        found = tuple(entry_points(group=_GROUP, name=cmd_name))
        if not found:
            return None
        module_name, _, attribute = found[0].value.partition(":")
        command = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"entry point {cmd_name!r} is {type(command).__name__}, not a click command")
        return command


@click.group(cls=_EntryPointGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("edgewright"), prog_name="edgewright")
def cli() -> None:
    """Manage an IoT network with a language model: telemetry in, checked policies out.

    Exit status: 0 done, 1 a check failed, 2 bad usage or input, 3 infeasible, 4 refused by a guard, 5 needs approval,
    130 a finetune or casestudy was interrupted and can be resumed.
    """


def main() -> None:
    """Run the command line; the packages' own errors end it with a message, never a traceback."""
    # The twin's matrices are small: a second thread of numpy's only spins. Read when numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        cli.main(prog_name="edgewright", standalone_mode=True)
    except Exception as error:
        # Each package's error root says how the process ends; anything else is a defect and keeps its traceback.
        status = getattr(error, "exit_status", None)
        if isinstance(status, int):
            click.echo(f"Error: {error}", err=True)
            sys.exit(status)
        fault = _path_fault(error)
        if not fault:
            raise
        click.echo(f"Error: {fault}", err=True)
        sys.exit(_BAD_INPUT)


def _path_fault(error: Exception) -> str:
    """What is wrong with a path that no file can have, whichever option gave it; empty for every other error.

    Even asking whether such a file exists fails, so each command would have to ask first.
    """
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        path = str(error.filename)
        shown = path if len(path) <= _MOST_SHOWN else f"{path[:_MOST_SHOWN]}…"
        return f"path {shown!r} of {len(path)} characters: {error.strerror}; a name may have 255 bytes, a path 4095"
    if isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return "a path holds a NUL character, which no file's name may"
    return ""
