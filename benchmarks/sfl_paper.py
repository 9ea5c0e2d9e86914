"""What the paper reports of its scheme, for the benchmarks that set ours beside it.

Sources: Chen, Wu, Li, Ji, arXiv 2503.13819 (memory and time against SFL) and arXiv 2506.02940 (time and memory against
SL). Both had other hardware, and no virtual clock.
"""

from __future__ import annotations

MEMORY_BELOW_SFL_PERCENT = 79.0
MEMORY_ABOVE_SL_PERCENT = 10.0
TIME_BELOW_SFL_PERCENT = 6.0
TIME_BELOW_SL_PERCENT = 40.0
ORDER = "longest_backward_first"
