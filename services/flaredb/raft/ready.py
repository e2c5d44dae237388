"""What the host now owes: messages to send, state to save, entries to apply.

A `Ready` has a number; the host answers `saved(number)` when everything in it, and in all before
it, is durable. Several may be under way at once.
"""

from collections.abc import Sequence

import msgspec

from flaredb.raft.roles import Role
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import Entry, HardState, Message, SnapshotMeta


class Send(msgspec.Struct, frozen=True, gc=False):
    """One message to one peer."""

    to: PeerId
    message: Message
    probing: bool = False
    """An append that looks for the place where the logs meet."""


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """The read asked for under `context` may be served once `index` is applied."""

    index: Index
    context: bytes


class LeadershipChange(msgspec.Struct, frozen=True, gc=False):
    """This member's part, or the leader it knows, is another than before."""

    role: Role
    leader: PeerId
    """Zero if none is known."""
    term: Term


class Ready(msgspec.Struct, frozen=True, gc=False):
    """What has become due since the last one. Empty parts are None or empty."""

    number: int
    """Rises by one from Ready to Ready, from one."""
    send_now: tuple[Send, ...]
    """Leave at once; nothing in them rests on what is not saved."""
    send_after_save: tuple[Send, ...]
    """Leave when this Ready and all before it are saved."""
    hard_state: HardState | None
    entries: Sequence[Entry]
    """To save: everything in the log at or after the first of them is replaced."""
    snapshot: SnapshotMeta | None
    """To save, before `entries`: the log now starts behind it."""
    keeps_suffix: bool
    """With a snapshot: whatever is saved behind it stays; else the whole old log goes."""
    apply: Sequence[Entry]
    read_states: tuple[ReadState, ...]
    change: LeadershipChange | None
