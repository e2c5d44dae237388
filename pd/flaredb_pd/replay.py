"""Reading what others have written: records are folded in, passed over, or found to be missing.

Whatever stands in the stream, the fold goes on behind it; what is no record of this journal changes
nothing but the position, and the epochs that may not be used again.
"""

import msgspec

from flaredb.bus.bus import StreamRecord
from flaredb_pd.state import State, evolve, follows, opens_reign
from flaredb_schemas.ids import JournalSequence, PdEpoch
from flaredb_schemas.journal import Unreadable
from flaredb_schemas.records import JournalFact, decode_fact


def skip(state: State, sequence: JournalSequence, epoch: PdEpoch) -> State:
    """The state after a record that is not this journal's, and that names `epoch` (or 0)."""
    assert sequence == state.sequence + 1, f"record {sequence} came after {state.sequence}"
    highest = max(state.highest_epoch, epoch)
    return msgspec.structs.replace(state, sequence=sequence, highest_epoch=highest)


def note_missing(state: State, next_sequence: int) -> State:
    """The state when the records before `next_sequence` are gone from the stream."""
    assert next_sequence > state.sequence + 1
    before = JournalSequence(next_sequence - 1)
    return msgspec.structs.replace(state, sequence=before, incomplete=True)


def replay(state: State, record: StreamRecord) -> tuple[State, str]:
    """The state after one record of the stream, and why it was skipped if it was."""
    if record.sequence > state.sequence + 1:
        state = note_missing(state, record.sequence)
    sequence = JournalSequence(record.sequence)
    fact = decode_fact(record.payload)
    if isinstance(fact, Unreadable):
        return skip(state, sequence, fact.epoch), f"record {sequence} is unreadable: {fact.reason}"
    if not follows(state, fact):
        why = f"record {sequence} ({fact.id}) does not follow pd.{state.epoch}.{state.n}"
        # It may be a stranger's: what follows on what was read so far still counts.
        lacks = state.exists and _misses_one(state, fact)
        skipped = skip(state, sequence, fact.epoch)
        return msgspec.structs.replace(skipped, incomplete=state.incomplete or lacks), why
    try:
        return evolve(state, fact, sequence), ""
    except (AssertionError, KeyError) as fault:
        # Every PD reads it, at every start: one that ends here is never followed by another.
        why = f"record {sequence} ({fact.id}) rests on one that is missing: {fault}"
        return _without(skip(state, sequence, fact.epoch), fact), why


def _misses_one(state: State, fact: JournalFact) -> bool:
    """Whether one of the same reign must have been before it that was not, or not to be read."""
    return fact.epoch == state.epoch and fact.n > state.n + 1 and not opens_reign(fact)


def _without(skipped: State, fact: JournalFact) -> State:
    """The state behind a fact of this journal that cannot be folded in: PD is to rebuild it."""
    return msgspec.structs.replace(skipped, epoch=fact.epoch, n=fact.n, incomplete=True)
