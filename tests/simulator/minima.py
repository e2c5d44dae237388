"""What the seeds of a range must have seen: a mix without merges would find no bug of merges."""

from collections.abc import Mapping
from typing import Final

LEAST_PER_SEED: Final = {
    "split_regions": 2.0,
    "merged_regions": 0.15,
    "peers_changed": 10.0,
    "reigns": 1.5,
}
"""On the average, by the names of a run's totals; the first PD's reign is one of the reigns. It is
half of what is usual, and a sixth of the merges, of which every other seed sees none."""


def too_few(totals: Mapping[str, int], seeds: int) -> list[str]:
    """Of what so many seeds have seen less than they must."""
    least = {kind: int(share * seeds) for kind, share in LEAST_PER_SEED.items()}
    return [
        f"only {totals.get(kind, 0)} {kind} instead of {wanted}"
        for kind, wanted in least.items()
        if totals.get(kind, 0) < wanted
    ]
