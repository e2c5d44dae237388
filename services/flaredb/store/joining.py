"""A store presents itself to PD before it takes part in anything.

A data folder has a uuid, drawn once, and a boot counter that rises with each start; both are saved
before PD is asked. PD grants the store's id and journals (id, uuid, boot) before it says yes, so a
copy of an old disk, or an id under another uuid, is refused. A copy that tries again and again
raises its own counter, so the folder also names the starts that it knows of: PD accepts only who
knows of the last accepted one. And a copy made during that start gives itself away by a generation
lower than the one that PD has heard of since.
"""

from typing import Final, assert_never

from msgspec import Struct

from flaredb.disk.disk import Batch, View
from flaredb.disk.layout import BOOT_KEY, IDENTITY_KEY, PD_EPOCH_KEY
from flaredb.store.ageing import saved_generation
from flaredb.store.births import is_bootstrapped
from flaredb.store.context import Me
from flaredb.store.named_ids import saved_highest
from flaredb.store.records import Boot, Identity, PdSeen, load, save
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.ids import NO_STORE, BootCounter, ClusterId, StoreUuid
from flaredb_schemas.placement import Join, JoinAnswer, Joined, JoinLater, JoinRefused

JOINS: Final[Codec[Join]] = Codec(Join)
JOIN_ANSWERS: Final[Codec[JoinAnswer]] = Codec(JoinAnswer)

MAX_STARTS: Final = 64
"""How many starts a folder names: the last accepted one, and the newest of those after it."""


class Accepted(Struct, frozen=True):
    """PD has accepted this start of the store; `batch` is to be saved before anything else."""

    me: Me
    seen: PdSeen
    batch: Batch


class Wait(Struct, frozen=True):
    """Ask again after so many seconds; `reason` is for the log."""

    reason: str
    seconds: float


class Joining:
    """One start of a data folder, until PD accepts it.

    Invariants: what `begin` returns is saved before `question` is asked; the nonce is the same for
    every question of this start.
    """

    __slots__ = (
        "_boot",
        "_bootstrapped",
        "_earlier",
        "_generation",
        "_identity",
        "_named",
        "_nonce",
        "_seen",
    )

    def __init__(self, view: View, new_uuid: StoreUuid, nonce: str) -> None:
        """`new_uuid` is for a folder that has none yet; both it and `nonce` are drawn by chance."""
        known = load(view, IDENTITY_KEY, Identity)
        self._earlier = load(view, BOOT_KEY, Boot) or Boot(BootCounter(0))
        self._identity = known or Identity(new_uuid, NO_STORE, ClusterId(""))
        self._boot = BootCounter(self._earlier.counter + 1)
        self._seen = load(view, PD_EPOCH_KEY, PdSeen) or PdSeen()
        self._bootstrapped = is_bootstrapped(view)
        self._named = saved_highest(view)
        self._generation = saved_generation(view)
        self._nonce = nonce

    @property
    def uuid(self) -> StoreUuid:
        """The data folder's own name."""
        return self._identity.uuid

    def begin(self) -> Batch:
        """What this start saves before it asks."""
        batch = Batch()
        save(batch, IDENTITY_KEY, self._identity)
        accepted, later = self._earlier.starts[:1], self._earlier.starts[1:]
        starts = (*accepted, *later[2 - MAX_STARTS :], self._nonce)
        save(batch, BOOT_KEY, Boot(self._boot, starts, self._earlier.accepted))
        return batch

    def question(self, capacity: int, labels: dict[str, str], version: str) -> bytes:
        """What to ask PD (`pd.req.<store or 0>.join`)."""
        identity, seen = self._identity, self._seen
        return JOINS.encode(
            Join(
                uuid=identity.uuid,
                boot=self._boot,
                store=identity.store,
                cluster=identity.cluster,
                pd_epoch=seen.pd_epoch,
                sequence=seen.sequence,
                highest_id=max(seen.highest_id, self._named),
                bootstrapped=self._bootstrapped,
                capacity=capacity,
                labels=labels,
                version=version,
                nonce=self._nonce,
                starts=self._earlier.starts,
                accepted=self._earlier.accepted,
                incarnation=seen.incarnation,
                generation=self._generation,
                decided=seen.decided,
            )
        )

    def answer(self, payload: bytes | None) -> Accepted | JoinRefused | Wait:
        """What PD's answer means; None: nobody answered."""
        if payload is None:
            return Wait("no PD answers", 0.5)
        answer = JOIN_ANSWERS.decode(payload)
        match answer:
            case Malformed():
                return Wait(f"PD's answer is malformed: {answer.reason}", 2.0)
            case JoinLater():
                return Wait(answer.reason, answer.retry_ms / 1000)
            case JoinRefused():
                return answer
            case Joined() if self._seen.refuses(answer.pd_epoch, answer.incarnation):
                return Wait(f"PD's reign {answer.pd_epoch} answers, another was seen since", 0.5)
            case Joined():
                return self._accepted(answer)
            case _:
                assert_never(answer)

    @property
    def asks_as(self) -> int:
        """The store id in the question's subject; 0 for a new folder."""
        return self._identity.store

    def _accepted(self, joined: Joined) -> Accepted:
        known = self._identity
        assert known.store in (NO_STORE, joined.store), "PD gives a store another id"
        assert known.cluster in ("", joined.cluster), "PD puts a store into another cluster"
        seen = self._seen.after(
            joined.pd_epoch, joined.incarnation, joined.sequence, joined.highest_id
        )
        batch = Batch()
        save(batch, IDENTITY_KEY, Identity(known.uuid, joined.store, joined.cluster))
        save(batch, BOOT_KEY, Boot(self._boot, (self._nonce,), self._boot))
        save(batch, PD_EPOCH_KEY, seen)
        return Accepted(Me(joined.store, joined.cluster, self._boot), seen, batch)
