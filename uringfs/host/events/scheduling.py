"""The order in which trio's tasks go on. trio turns it round in half of all rounds, for nobody to rely on it; the
kernel's task work keeps its order (io_handle_tw_list()), and programs do rely on that."""

import random

import trio


class _AsTheyCome(random.Random):
    """trio._core._run asks whether to reverse a batch of tasks, which it takes from the end: `random() < 0.5`."""

    def random(self) -> float:
        return 0.0


def in_order() -> None:
    """From now on tasks run in the order they were scheduled in."""
    trio._core._run._r = _AsTheyCome()  # noqa: SLF001
