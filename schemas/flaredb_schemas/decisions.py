"""Why something was decided: what was seen, compared and left out, and what was expected of it.

A decision stands in the record of what it started, or in a record of its own where it came to
nothing. All scores are integers: of two candidates the one with the lower terms is better, term by
term in the order in which they are written, and then the one with the lower ids. What is better the
more there is of it is written as a negative number.
"""

from typing import Final, Literal

from msgspec import Struct

from flaredb_schemas.ids import NO_REGION, NO_STORE, JournalSequence, RegionId, StoreId, Term
from flaredb_schemas.regions import Count

MOST_CANDIDATES: Final = 50
"""How many candidates a decision names, the best first."""
MOST_EXAMPLES: Final = 3
"""How many examples it names of what a filter left out."""
LARGEST_DECISION: Final = 16 * 1024
"""Bytes of a decision as JSON; what is larger names fewer candidates, then fewer examples."""

FigureName = Literal["bytes", "keys_per_second", "leaders", "replicas", "shared_labels"]
"""What is counted: of a store what it bears, of a region (`shared_labels`) how much its replicas
stand at the same places. `keys_per_second` are those of all regions that a store leads."""


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What PD had seen when it decided.

    `sequence` is the last record of its journal; `version`, `conf_ver` and `term` are the region's,
    0 where the decision is about no single one; `heartbeats` are the ids of the newest messages of
    the stores that were compared, and of who leads the region.
    """

    sequence: JournalSequence = JournalSequence(0)
    version: Count = 0
    conf_ver: Count = 0
    term: Term = Term(0)
    heartbeats: tuple[str, ...] = ()


class Candidate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that could be done: to this region, from this store, to this one; 0 for none.

    `terms` are its score; the module says how they compare.
    """

    region: RegionId = NO_REGION
    source: StoreId = NO_STORE
    target: StoreId = NO_STORE
    terms: dict[str, int] = {}


class Example(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a filter left out: a region, a store, or a region where a store is concerned."""

    region: RegionId = NO_REGION
    store: StoreId = NO_STORE


class Filter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule that left out `count` regions, stores or pairs of stores, and the first of them."""

    rule: str
    count: Count
    examples: tuple[Example, ...] = ()


class Effect(Struct, frozen=True, kw_only=True):
    """A figure as it is and as it is to be; of `store`, or of the region where that is 0."""

    figure: FigureName
    store: StoreId
    before: int
    after: int


class Outcome(Struct, frozen=True, kw_only=True):
    """A figure before, as it was to be, and as it was in the end, with all else that happened."""

    figure: FigureName
    store: StoreId
    before: int
    predicted: int
    realised: int


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something is done, or nothing.

    `policy` is who decided; `policy_hash` what it said, where it is a text that can be changed.
    `compared` counts all candidates, of which the best are named. `bytes` are to be brought to
    another store, which is expected to take `ms` (0: not known), by what came before it.
    """

    policy: str = ""
    policy_hash: str = ""
    seen: Seen = Seen()
    compared: Count = 0
    candidates: tuple[Candidate, ...] = ()
    filters: tuple[Filter, ...] = ()
    bytes: Count = 0
    ms: Count = 0
    effects: tuple[Effect, ...] = ()
