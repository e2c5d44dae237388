"""Which replicas and leaderships had better be elsewhere: state in, proposals out.

Three things are evened out, in this order: room on disks and replicas (by weight), the load of what
stores lead, and leaderships (by number): what is busy goes first, and what is cold makes up for the
number, or it would come back. Each has a tolerance within which nothing is moved, and a
proposal must bring its two stores closer to each other, so that nothing moves to and fro. Scores
are integers or compared through them, and ties end at ids, so that the same state gives the same
proposals. (After tikv/pd's balance-region, balance-leader and hot-region schedulers.)
"""

from collections.abc import Iterator
from typing import Final

from flaredb_pd import even_leaders, even_load, even_replicas
from flaredb_pd.balance_scene import Look, Scene
from flaredb_pd.ledger import Idle
from flaredb_pd.proposals import Proposal

POLICIES: Final = (even_replicas.POLICY, even_load.POLICY, even_leaders.POLICY)

MOST_AT_ONCE: Final = 8
"""How many proposals one look makes."""

TOO_FEW: Final = "fewer than two stores are up and to stay"


def decisions(scene: Scene) -> Iterator[Proposal | Idle]:
    """What to do, the most urgent first, and of each policy why nothing; O(regions)."""
    look = Look(scene)
    if len(look.standings) < 2:
        yield from (Idle(policy, TOO_FEW) for policy in POLICIES)
        return
    for find in (even_replicas.find, even_load.find, even_leaders.find):
        before = len(look.taken)
        while len(look.taken) < MOST_AT_ONCE:
            found = find(look)
            if isinstance(found, Idle):
                if len(look.taken) == before:
                    yield found
                break
            look.taken.add(found.region)
            yield found
