"""Fresh ids, never twice.

One rising number names stores, regions and peers alike. How far it has been granted stands in the
journal record that granted it; when records were lost, it goes on far above all that was seen.
"""

from typing import Final

LOSS_MARGIN: Final = 1_000_000
"""How far above the highest id seen the ids go on after a loss: more than any PD could have granted
without a single store having heard of one of them."""


def grant(highest: int, count: int) -> range:
    """The next `count` ids after `highest`; the last of them is the new highest."""
    assert highest >= 0 and count > 0, f"{count} ids after {highest} make no sense"
    return range(highest + 1, highest + 1 + count)


def floor_after_loss(seen: int) -> int:
    """The highest id that counts as granted when the journal was lost and stores know `seen`."""
    assert seen >= 0
    return seen + LOSS_MARGIN
