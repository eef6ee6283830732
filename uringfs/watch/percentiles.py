"""Percentiles: of a histogram, between the bounds of its buckets, and of a list."""

from collections.abc import Sequence


def of_buckets(bounds: Sequence[int], buckets: Sequence[int], percent: float) -> float:
    """Linear between a bucket's bounds; 0.0 of nothing. What is above the last bound counts as that."""
    total = sum(buckets)
    wanted, below = total * percent / 100, 0
    for place, count in enumerate(buckets):
        if count and below + count >= wanted:
            if place == len(bounds):
                return float(bounds[-1])
            low = bounds[place - 1] if place else 0
            return low + (bounds[place] - low) * (wanted - below) / count
        below += count
    return 0.0


def of_list(values: Sequence[int], percent: float) -> int:
    """The nearest rank, of sorted values; 0 of none."""
    if not values:
        return 0
    return values[min(len(values) - 1, int(len(values) * percent / 100))]
