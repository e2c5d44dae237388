"""Which stores may have which id: judged from the journal alone.

Raft is safe only as long as a store never forgets its votes. So an id belongs to one data folder
(its uuid), and to one start of it at a time (its boot counter, which only rises, and the nonce of
that start): a copy of a disk, or an old state of it, is refused. It gives itself away by a counter
that does not rise; once it has raised it by trying, by not knowing of the start accepted last; and
if it was made during that very start, by a generation below what was heard of the folder since. So
a copy is accepted only if it is younger than what was heard last: a heartbeat period, or with PD
itself going down `generations.PERIOD`; or if the journal was lost, and the original with it: of a
store that only regions tell of, the first folder that claims its id is the one.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct, json

from flaredb_pd.fresh_ids import grant
from flaredb_pd.recovery import Claim
from flaredb_pd.state import State
from flaredb_pd.store_records import StoreRecord
from flaredb_schemas.ids import NO_STORE, NO_UUID, Generation, StoreId
from flaredb_schemas.placement import Here, Join, Joined, JoinLater, JoinRefused, Witness

_UUID = re.compile(r"[0-9a-f]{32}")

RETRY_MS: Final = 250

MOST_TOLD_BYTES: Final = 16 * 1024
"""What a store tells of itself goes into the journal, whose records the bus takes up to a size."""

NEVER_HEARD: Final = Generation(0)

HeardOf = Callable[[StoreId], Generation | None]
"""The generation that a store's heartbeats have told of in this reign; None: it sent none."""

FRESH_FOLDER: Final = (
    "if its disk was lost or copied, start it with an empty data folder: it gets a new id and its "
    "replicas are made anew from the others"
)


EMPTY_FOLDER: Final = (
    "start it with an empty data folder to make it a new store; what it held is on other stores"
)


class Candidate(Struct, frozen=True):
    """A new store while there is no cluster yet: it waits for the bootstrap."""


class Admission(Struct, frozen=True):
    """The store is to be journaled under `store`; `highest_id` stands after that."""

    store: StoreId
    highest_id: int
    recovered: bool = False


Judgement = Joined | JoinRefused | JoinLater | Candidate | Admission


def judge(state: State, join: Join, heard: HeardOf = lambda _: None) -> Judgement:
    """What becomes of `join` under `state`. `Joined` only if exactly this start is journaled."""
    fault = _find_join_fault(join)
    if fault:
        return fault
    if gone := find_removed(state, join):
        return JoinRefused(gone, EMPTY_FOLDER)
    if join.store == NO_STORE:
        return _find_early_copy(state, join, heard) or _judge_new(state, join)
    if not state.exists:
        return JoinLater(
            f"store {join.store} belongs to cluster {join.cluster}, of which PD's journal knows "
            "nothing: waiting for it to be rebuilt",
            RETRY_MS,
        )
    if join.cluster != state.cluster:
        return JoinRefused(
            f"store {join.store} belongs to cluster {join.cluster}, this is {state.cluster}",
            "give each cluster its own NATS account or subject prefix. The data folder holds what "
            "the other cluster has: keep it, unless nobody wants that any more; with an empty one "
            "it becomes a new store of this cluster",
        )
    known = state.accepted(join.store)
    if known is None:
        return _judge_unknown(state, join)
    return _judge_known(state, join, known, heard(known.id) or NEVER_HEARD)


def _find_join_fault(join: Join) -> JoinRefused | None:
    if not _UUID.fullmatch(join.uuid) or join.boot < 1:
        return JoinRefused(
            f"uuid {join.uuid!r} or boot counter {join.boot} is not what a data folder has",
            "the data folder is damaged; start with an empty one",
        )
    if (join.store == NO_STORE) != (not join.cluster):
        return JoinRefused(
            f"store {join.store} of cluster {join.cluster!r}: a folder has both ids or none",
            "the data folder is damaged; start with an empty one",
        )
    if join.store == NO_STORE and join.bootstrapped:
        return JoinRefused(
            "the data folder holds regions but names no cluster",
            "the data folder is damaged; start with an empty one",
        )
    if len(json.encode((join.labels, join.version))) > MOST_TOLD_BYTES:
        return JoinRefused(
            f"its labels and version take more than {MOST_TOLD_BYTES} bytes",
            "give it fewer labels, or shorter ones",
        )
    return None


def _find_early_copy(state: State, join: Join, heard: HeardOf) -> JoinRefused | None:
    """A folder without an id whose store has been heard: one from before it saved its id."""
    known = _with_uuid(state, join)
    if known is None or heard(known.id) is None:
        return None
    return JoinRefused(
        f"this data folder was accepted as store {known.id}, which has saved its id since; "
        "this one knows of no id, so it is a copy or an old state",
        FRESH_FOLDER,
    )


def _with_uuid(state: State, join: Join) -> StoreRecord | None:
    return next((one for one in state.stores.values() if one.uuid == join.uuid), None)


def _judge_new(state: State, join: Join) -> Judgement:
    known = _with_uuid(state, join)
    if not state.exists:
        return Candidate()
    if known:
        # Journaled, but the answer was lost before the store could save its id.
        return _judge_known(state, join, known, NEVER_HEARD)
    store = StoreId(grant(state.highest_id, 1)[0])
    return Admission(store, highest_id=store)


def _judge_known(state: State, join: Join, known: StoreRecord, heard: Generation) -> Judgement:
    if join.uuid != known.uuid:
        return JoinRefused(
            f"store id {known.id} belongs to data folder {known.uuid}, not to {join.uuid}",
            FRESH_FOLDER,
        )
    reached = max(known.generation, heard)
    if join.generation < reached:
        return JoinRefused(
            f"the data folder of store {known.id} had reached generation {reached}; this one is at "
            f"{join.generation}, so it is a copy or an old state",
            FRESH_FOLDER,
        )
    if join.boot > known.boot and _knows_last_start(join, known):
        return Admission(known.id, state.highest_id)
    if (join.boot, join.nonce) == (known.boot, known.nonce):
        at = state.epoch, state.sequence, state.highest_id
        return Joined(state.cluster, known.id, *at, state.incarnation)
    unaware = " and has not heard of that one" if join.boot > known.boot else ""
    return JoinRefused(
        f"store {known.id} was started before with boot counter {known.boot}; this start claims "
        f"{join.boot}{unaware}, so its data folder is a copy or an old state",
        FRESH_FOLDER,
    )


def _knows_last_start(join: Join, known: StoreRecord) -> bool:
    """Whether the folder has seen the start that was accepted last, or a later one.

    A later one: the journal is behind. No nonce: the store was recovered from what others know.
    """
    return join.accepted > known.boot or known.nonce in ("", *join.starts)


def _judge_unknown(state: State, join: Join) -> Judgement:
    double = _with_uuid(state, join)
    if double:
        return JoinRefused(
            f"data folder {join.uuid} is store {double.id}, not store {join.store}", FRESH_FOLDER
        )
    if join.store > state.lost_id:
        # A rebuild went on above `lost_id`: up to there the lost journal may have granted it,
        # though nobody spoke of it then. This one was never granted, or the journal is behind
        # again, which the claims of this very message show.
        return JoinRefused(f"store id {join.store} was never granted here", FRESH_FOLDER)
    return Admission(join.store, state.highest_id, recovered=True)


def find_removed(state: State, told: Join | Witness | Here | Claim) -> str:
    """Why a store is never accepted again: it was removed, by its id or by its folder; or nothing.

    A folder may not know of the id under which it was accepted.
    """
    if told.cluster not in ("", state.cluster):
        return ""
    gone = state.removed.get(told.store)
    if gone is None and not isinstance(told, Here):
        known = (one for one in state.removed.values() if one.record.uuid == told.uuid != NO_UUID)
        gone = next(known, None)
    return f"store {gone.record.id} was removed from the cluster" if gone is not None else ""


def find_impostor(state: State, witness: Witness) -> str:
    """Why a store that runs must not: it was removed, or its id was granted again after the journal
    was lost."""
    if gone := find_removed(state, witness):
        return gone
    known = state.accepted(witness.store)
    if known is None or known.uuid == witness.uuid or witness.cluster != state.cluster:
        return ""
    return f"store id {known.id} belongs to data folder {known.uuid}, not to {witness.uuid}"
