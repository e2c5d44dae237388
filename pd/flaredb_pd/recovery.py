"""How a reign begins: hear the stores before any id or order, and find out what was lost.

JetStream is history, not truth: a power cut may take records that it had acknowledged. Stores save
the highest epoch, sequence and id they have seen, so a journal that is empty or behind shows by
what they tell. So does one that has lost records and grown again since: a record is named by its
sequence and its reign, as a Raft entry is by index and term, and a reign by its epoch and who
opened it. PD then begins anew above all of it, and gives no order until heartbeats have told the
whole key space.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from flaredb_pd.decided import decided_of, newest
from flaredb_pd.state import State
from flaredb_schemas.decided import UNDECIDED, Decided
from flaredb_schemas.ids import (
    NO_STORE,
    NO_UUID,
    BootCounter,
    ClusterId,
    Generation,
    JournalSequence,
    PdEpoch,
    PdIncarnation,
    StoreId,
    StoreUuid,
)
from flaredb_schemas.placement import Join, Witness


class Claim(Struct, frozen=True):
    """What a store has seen of PD. `member` if it runs under the id that it names.

    `nonce` is that of the start that was accepted under `boot`, and `generation` what the folder
    had reached at least, where these are known.
    """

    store: StoreId
    uuid: StoreUuid
    boot: BootCounter
    cluster: ClusterId
    pd_epoch: PdEpoch
    sequence: JournalSequence
    highest_id: int
    member: bool
    incarnation: PdIncarnation = PdIncarnation("")
    nonce: str = ""
    generation: Generation = Generation(0)
    decided: Decided = UNDECIDED


def claim_of(told: Witness | Join) -> Claim:
    """The claim in a witness or in a store's question to join."""
    return Claim(
        store=told.store,
        uuid=told.uuid,
        boot=told.boot,
        cluster=told.cluster,
        pd_epoch=told.pd_epoch,
        sequence=told.sequence,
        # A store's own id was granted, whatever else it remembers.
        highest_id=max(told.highest_id, told.store),
        member=isinstance(told, Witness),
        incarnation=told.incarnation,
        decided=told.decided,
    )


def claims_of(state: State) -> tuple[Claim, ...]:
    """What a PD itself remembers when the stream was taken away under it: its own word counts."""
    if not state.exists:
        return ()
    own = Claim(
        store=NO_STORE,
        uuid=NO_UUID,
        boot=BootCounter(0),
        cluster=state.cluster,
        pd_epoch=state.epoch,
        sequence=state.sequence,
        highest_id=state.highest_id,
        member=False,
        incarnation=state.incarnation,
        decided=decided_of(state),
    )
    known = (
        msgspec.structs.replace(
            own,
            store=one.id,
            uuid=one.uuid,
            boot=one.boot,
            member=True,
            nonce=one.nonce,
            generation=one.generation,
        )
        for one in state.stores.values()
        if not one.is_known_by_name  # regions will name it again
    )
    return (own, *known)


class Loss(Struct, frozen=True):
    """What is known to have been before the journal was lost; `members` run and are accepted.

    `decided` is the newest of what anybody remembers, the journal as it is now included.
    """

    reason: str
    cluster: ClusterId
    epoch: PdEpoch
    sequence: JournalSequence
    highest_id: int
    members: tuple[Claim, ...]
    decided: Decided = UNDECIDED


def find_evidence(state: State, claim: Claim) -> str:
    """Why `claim` shows that the journal lost records, or nothing."""
    if not claim.cluster or (state.exists and claim.cluster != state.cluster):
        return ""
    who = f"store {claim.store}" if claim.store else "this PD"
    if not state.exists:
        return f"{who} belongs to cluster {claim.cluster}, the journal to none"
    if claim.pd_epoch > state.epoch:
        return f"{who} has seen epoch {claim.pd_epoch}, the journal {state.epoch}"
    if claim.highest_id > state.highest_id:
        return f"{who} knows id {claim.highest_id}, granted are {state.highest_id}"
    if claim.pd_epoch <= state.lost_epoch and claim.sequence <= state.lost_sequence:
        return ""  # The last rebuild has begun above it.
    if claim.sequence > state.sequence:
        return f"{who} has seen record {claim.sequence}, the last is {state.sequence}"
    return _find_contradiction(state, claim, who)


def _find_contradiction(state: State, claim: Claim, who: str) -> str:
    """Why this journal is not the one that `claim` tells of, though it is long enough."""
    for reign in state.reigns:
        if reign.epoch == claim.pd_epoch and "" != reign.incarnation != claim.incarnation != "":
            return f"{who} has seen epoch {reign.epoch} opened by another PD"
        if reign.epoch > claim.pd_epoch and reign.sequence <= claim.sequence:
            return (
                f"{who} has seen record {claim.sequence} in epoch {claim.pd_epoch}, here epoch "
                f"{reign.epoch} began with record {reign.sequence}"
            )
    return ""


def find_loss(state: State, claims: Iterable[Claim], told_id: int = 0) -> Loss | None:
    """What was lost, as all `claims` together show it; None if nothing was.

    `told_id` is the highest id that regions or their peers were said to have. Where stores of
    several clusters speak, the cluster of the most stores counts.
    """
    claims = tuple(claims)
    reasons = [reason for reason in (find_evidence(state, claim) for claim in claims) if reason]
    if state.incomplete and state.exists:
        reasons.insert(0, "records are missing at the beginning or amid the journal")
    if state.exists and told_id > state.highest_id:
        reasons.append(f"regions name id {told_id}, granted are {state.highest_id}")
    if not reasons:
        return None
    cluster = state.cluster or _most_common(claims)
    ours = [claim for claim in claims if claim.cluster == cluster]
    return Loss(
        reasons[0],
        cluster,
        PdEpoch(max([state.highest_epoch, *(claim.pd_epoch for claim in ours)])),
        JournalSequence(
            max([state.sequence, state.lost_sequence, *(claim.sequence for claim in ours)])
        ),
        max([state.highest_id, told_id, *(claim.highest_id for claim in ours)]),
        tuple(claim for claim in ours if claim.member),
        newest(decided_of(state), *(claim.decided for claim in ours)),
    )


def _most_common(claims: tuple[Claim, ...]) -> ClusterId:
    clusters = [claim.cluster for claim in claims if claim.cluster]
    return max(sorted(set(clusters)), key=clusters.count)


class Muster:
    """Who has answered the announcement of this reign.

    `expected` are the stores that the journal counts, and the data folder of each, if it is known;
    who speaks for one of them from another folder does not speak for it.

    Invariant: once complete it stays complete, whatever is noted later.
    """

    def __init__(
        self, expected: Mapping[StoreId, StoreUuid], started: float, window: float
    ) -> None:
        self._missing = dict(expected)
        self._anyone = bool(self._missing)
        self._window = window
        self._deadline = started + window
        self._complete = False
        self._claims: dict[tuple[StoreId, StoreUuid], Claim] = {}

    def note(self, claim: Claim) -> None:
        """A store has answered, or asked to join under the id that it had."""
        known = self._claims.get((claim.store, claim.uuid), claim)
        self._claims[claim.store, claim.uuid] = _together(known, claim)
        if self._missing.get(claim.store) in (claim.uuid, NO_UUID):
            del self._missing[claim.store]

    def wait_anew(self, now: float) -> None:
        """Begin the window again: until now this PD was deaf, so that silence proved nothing."""
        self._deadline = now + self._window

    def complete(self, now: float) -> bool:
        """Whether every expected store has answered or the window is over.

        A journal that knows no store waits for the whole window: those who would prove it lost
        are exactly those whom it cannot expect.
        """
        heard_all = self._anyone and not self._missing
        self._complete = self._complete or heard_all or now >= self._deadline
        return self._complete

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The last claim of each data folder, by store id."""
        return tuple(self._claims[key] for key in sorted(self._claims))

    @property
    def missing(self) -> frozenset[StoreId]:
        """The stores that have not answered."""
        return frozenset(self._missing)


def _together(one: Claim, other: Claim) -> Claim:
    """What two claims of one data folder say together; they may come in any order."""
    newer = max(other, one, key=lambda claim: claim.boot)
    further = max(other, one, key=lambda claim: (claim.pd_epoch, claim.sequence))
    nonces = {claim.nonce for claim in (one, other) if claim.boot == newer.boot} - {""}
    return msgspec.structs.replace(
        newer,
        pd_epoch=further.pd_epoch,
        incarnation=further.incarnation,
        sequence=further.sequence,
        highest_id=max(one.highest_id, other.highest_id),
        nonce=min(nonces, default=""),
        generation=max(one.generation, other.generation),
        decided=newest(one.decided, other.decided),
    )
