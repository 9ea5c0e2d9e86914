"""Folders that a command will write to, claimed before its work begins.

As `agent.output_folder`, which fine-tuning may not import: it stands alone.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from sfl_finetune.errors import SettingInvalid


def claim_folder(option: str, folder: Path) -> None:
    """Make the folder and try to write in it; raises SettingInvalid that names the option and the path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Asking for permission is not enough: a read-only or a full disk only shows itself when written to.
        with TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise SettingInvalid(
            f"{option} {str(folder)!r}: {error.strerror or error}; a writable folder was expected"
        ) from error
