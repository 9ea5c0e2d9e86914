"""Drain3 with the masks of its own documentation: JSON on stdin and stdout, run by `peers.ask_peer`."""

from __future__ import annotations

import json
import re
import sys
import time

try:
    from drain3 import TemplateMiner
    from drain3.masking import MaskingInstruction
    from drain3.template_miner_config import TemplateMinerConfig
except ImportError:
    sys.exit(3)

_MASKS = (
    (r"((?<=[^A-Za-z0-9])|^)(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))((?=[^A-Za-z0-9])|$)", "ID"),
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "IP"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9A-F]{4} ?){4,}((?=[^A-Za-z0-9])|$)", "SEQ"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "HEX"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "NUM"),
    (r"(?<=executed cmd )(\".+?\")", "CMD"),
)


def mined(lines: list[str]) -> tuple[list[str], float]:
    """Each line's template as known at the end, and the CPU seconds of mining."""
    config = TemplateMinerConfig()
    config.masking_instructions = [MaskingInstruction(pattern, name) for pattern, name in _MASKS]
    miner = TemplateMiner(config=config)
    began = time.process_time()
    ids = [miner.add_log_message(line)["cluster_id"] for line in lines]
    seconds = time.process_time() - began
    texts = {cluster.cluster_id: cluster.get_template() for cluster in miner.drain.clusters}
    return [re.sub(r"<:?[A-Z]+:?>", "<*>", texts[number]) for number in ids], seconds


def main() -> None:
    """Answer {"systems": {name: lines}, "runs": number} with templates and the fastest run's seconds."""
    question = json.load(sys.stdin)
    seconds = []
    for _ in range(question["runs"]):
        found = {name: mined(lines) for name, lines in question["systems"].items()}
        seconds.append(sum(spent for _, spent in found.values()))
    json.dump({"templates": {name: texts for name, (texts, _) in found.items()}, "seconds": min(seconds)}, sys.stdout)


if __name__ == "__main__":
    main()
