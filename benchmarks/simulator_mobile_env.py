"""UE-cell links that mobile-env makes in a second of CPU time, in an interpreter of its own.

python benchmarks/simulator_mobile_env.py    prints one JSON document
"""

from __future__ import annotations

import json
import time

STEPS = 50


def main() -> None:
    """Step its largest environment, every device at every station, with random actions."""
    import gymnasium
    import mobile_env  # noqa: F401 - importing it registers the environments

    environment = gymnasium.make("mobile-large-central-v0")
    environment.reset(seed=1)
    environment.action_space.seed(1)
    core = environment.unwrapped
    num_links = len(core.users) * len(core.stations)
    spent_s, num_steps = 0.0, 0
    while num_steps < STEPS:
        action = environment.action_space.sample()
        begin_s = time.process_time()
        *_, is_terminated, is_truncated, _ = environment.step(action)
        spent_s += time.process_time() - begin_s
        num_steps += 1
        if is_terminated or is_truncated:
            environment.reset()
    print(json.dumps({"links_per_cpu_s": num_links * num_steps / spent_s, "links": num_links, "steps": num_steps}))


if __name__ == "__main__":
    main()
