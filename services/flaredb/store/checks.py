"""`region check`: every replica hashes its state at one and the same applied index.

A check is an entry in the log. Whoever applies it saves all that is applied, holds the region until
the rows are hashed beside the loop, and keeps the digest under the check's nonce for a while.
"""

import hashlib
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from flaredb.disk.disk import Hashed, HashRows, JobResult
from flaredb.disk.layout import SESSION, applied_key, data_rows, region_rows, user_bytes
from flaredb.kv.machine import AppliedState
from flaredb.store.context import Context
from flaredb.store.guarding import Guard, raise_damage
from flaredb.store.jobs import Jobs
from flaredb.store.records import decode, encode, open_sealed
from flaredb.store.replica import Asker, Replica
from flaredb_schemas.failures import NotReady, Refusal, RegionNotFound
from flaredb_schemas.ids import Index, RegionId
from flaredb_schemas.requests import HashAnswer, HashRequest

KEPT_DIGESTS: Final = 64
HASH_SECONDS: Final = 30.0


class Digest(Struct, frozen=True):
    """What a check found here."""

    index: Index
    hash: str
    keys: int
    bytes: int


class Checks:
    """The checks under way and the newest results.

    Invariants: a replica is held from the apply of a check until its job has ended; results are
    bounded; a replica whose rows or records are found damaged is out of service.
    """

    __slots__ = ("_context", "_digests", "_guard", "_jobs", "_waiting")

    def __init__(self, context: Context, jobs: Jobs, guard: Guard) -> None:
        self._context = context
        self._guard = guard
        self._jobs = jobs
        self._digests: OrderedDict[tuple[RegionId, int], Digest | str] = OrderedDict()
        self._waiting: dict[tuple[RegionId, int], list[Asker]] = {}

    def applied(self, replica: Replica, index: Index, nonce: int) -> None:
        """A check was applied: hash exactly this state."""
        replica.held = True
        self._waiting.setdefault((replica.id, nonce), [])
        self._context.saver.force()
        self._context.saver.then(lambda: self._begin(replica, index, nonce))

    def ask(self, request: HashRequest, asker: Asker) -> Refusal | None:
        """Somebody wants the digest of a check; it is answered when it is there."""
        name = (request.region, request.nonce)
        digest = self._digests.get(name)
        if isinstance(digest, Digest):
            self._answer(asker, digest)
            return None
        if isinstance(digest, str):
            return NotReady(digest)
        if name in self._waiting:
            self._waiting[name].append(asker)
            return None
        if self._context.registry.get(request.region) is None:
            return RegionNotFound(request.region, self._context.me.store)
        return NotReady("the check has not been applied here yet")

    def _begin(self, replica: Replica, index: Index, nonce: int) -> None:
        region = replica.id
        job = HashRows(
            self._jobs.next_number(),
            (applied_key(region),),
            (data_rows(replica.region.keys), region_rows(SESSION, region)),
            HASH_SECONDS,
        )
        self._jobs.start(job, lambda result: self._ended(replica, index, nonce, result))

    def _ended(self, replica: Replica, index: Index, nonce: int, result: JobResult) -> None:
        replica.held = False
        self._context.touch(replica.id)
        name = (replica.id, nonce)
        self._guard(replica, self._keep, (name, index, result))
        digest = self._digests.setdefault(name, "the replica is damaged here")
        while len(self._digests) > KEPT_DIGESTS:
            self._digests.popitem(last=False)
        for asker in self._waiting.pop(name, ()):
            if isinstance(digest, Digest):
                self._answer(asker, digest)
            else:
                self._context.answers.refuse(asker, NotReady(digest))

    def _keep(self, replica: Replica, ended: tuple[tuple[RegionId, int], Index, JobResult]) -> None:
        """Note what a check found. Raises `CorruptRecordError` for what is damaged here."""
        name, index, result = ended
        raise_damage(result)
        self._digests[name] = (
            _digest(replica, index, result)
            if isinstance(result, Hashed)
            else f"the rows could not be hashed: {getattr(result, 'reason', result)}"
        )

    def _answer(self, asker: Asker, digest: Digest) -> None:
        self._context.answers.add(
            asker.reply,
            HashAnswer(asker.number, digest.index, digest.hash, digest.keys, digest.bytes),
        )


def _digest(replica: Replica, index: Index, result: Hashed) -> Digest | str:
    """Rows, sessions and what is applied, as one digest; all replicas have the same at `index`."""
    sealed = result.values[0]
    if sealed is None:
        return "the region was merged into another meanwhile"
    state = decode(AppliedState, open_sealed(applied_key(replica.id), sealed))
    if state.index != index:
        return f"hashed at {state.index} instead of {index}"
    whole = hashlib.sha256(bytes.fromhex(result.digest) + encode(state)).hexdigest()
    # As counted: what is applied tells an estimate after a split.
    return Digest(index, whole, result.rows, user_bytes(result.rows, result.row_bytes))
