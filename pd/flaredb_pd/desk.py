"""Who asks the leading PD what: from subjects and bytes to calls, and to answers.

Whatever bytes come, an answer goes out: a frame where a program asks, JSON where a person does, and
for what cannot be understood a code, a sentence and a hint.
"""

from collections.abc import Callable

import msgspec

from flaredb.bus.bus import Message
from flaredb_pd.answers import answer_regions, answer_routes, answer_stores, describe_status
from flaredb_pd.changes import WISHES
from flaredb_pd.effects import Effect, Note, Send
from flaredb_pd.fates import fate
from flaredb_pd.instant import Instant
from flaredb_pd.joins import find_removed
from flaredb_pd.operator_rows import answer_operators
from flaredb_pd.reign import Reign
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.membership import AskFate
from flaredb_schemas.merges import MergeEnded
from flaredb_schemas.pd_answers import OperatorsAnswer, PdFailure, PdStatus
from flaredb_schemas.placement import (
    Heartbeat,
    Here,
    Join,
    JoinAnswer,
    JoinRefused,
    RoutesAnswer,
    RoutesQuery,
    Witness,
    Witnessed,
)
from flaredb_schemas.splits import AskIds, SplitEnded

_ask_fate: Codec[AskFate] = Codec(AskFate)
_heartbeats = msgspec.json.Decoder(Heartbeat)
_ask_ids: Codec[AskIds] = Codec(AskIds)
_split_ended: Codec[SplitEnded] = Codec(SplitEnded)
_merge_ended: Codec[MergeEnded] = Codec(MergeEnded)
_here: Codec[Here] = Codec(Here)
_join: Codec[Join] = Codec(Join)
_join_answer: Codec[JoinAnswer] = Codec(JoinAnswer)
_witness: Codec[Witness] = Codec(Witness)
_witnessed: Codec[Witnessed] = Codec(Witnessed)
_routes_query: Codec[RoutesQuery] = Codec(RoutesQuery)
_routes_answer: Codec[RoutesAnswer] = Codec(RoutesAnswer)


class Desk:
    """The requests to one reign. Holds nothing of its own."""

    __slots__ = ("_reign",)

    def __init__(self, reign: Reign) -> None:
        self._reign = reign

    def status(self) -> PdStatus:
        """How things stand."""
        reign = self._reign
        return describe_status(reign.state, reign.heard, reign.watch, reign.doing)

    def on_message(self, words: list[str], message: Message, now: Instant) -> list[Effect]:
        """Handle a message; `words` are its subject without the prefix."""
        match words:
            case ["hb", "store", store]:
                return self._on_heartbeat(store, message.payload, now)
            case ["pd", "req", store, "join"]:
                return self._on_join(store, message, now)
            case ["pd", "req", store, "witness"]:
                return self._on_witness(store, message, now)
            case ["pd", "req", store, "here"]:
                return self._on_here(store, message, now)
            case ["pd", "req", store, "ids"]:
                return self._on_ids(store, message, now)
            case ["pd", "req", store, "fate"]:
                return self._on_fate(store, message)
            case ["pd", "req", store, "split"]:
                return self._on_split_ended(store, message)
            case ["pd", "req", store, "merge"]:
                return self._on_merge_ended(store, message)
            case ["pd", "admin", what] if what in WISHES:
                return self._on_wish(what, message, now)
            case ["pd", "get", *what]:
                return _reply(message, self._read(".".join(what), message.payload, now))
            case ["pd", "admin", *what]:
                return _reply(message, _json(_unknown("admin", ".".join(what), WISHES)))
            case ["pd", "req", _, *what]:
                known = ("fate", "here", "ids", "join", "merge", "split", "witness")
                return _reply(message, _json(_unknown("req", ".".join(what), known)))
            case _:
                return []

    def _on_heartbeat(self, store: str, payload: bytes, now: Instant) -> list[Effect]:
        try:
            beat = _heartbeats.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError) as fault:
            return [Note("warning", f"a heartbeat of store {store} is malformed: {fault}")]
        if str(beat.store.store) != store:
            text = f"a heartbeat of store {beat.store.store} came as store {store}: ignored"
            return [Note("warning", text)]
        self._reign.on_heartbeat(beat, now)
        return []

    def _on_join(self, store: str, message: Message, now: Instant) -> list[Effect]:
        join = _join.decode(message.payload)
        fault = _speaker_fault(join, store)
        if isinstance(join, Malformed) or fault:
            refused = JoinRefused(fault, "run stores and PD of neighbouring versions")
            return _reply(message, _join_answer.encode(refused))
        self._reign.on_join(join, message.reply, now)
        return []

    def _on_witness(self, store: str, message: Message, now: Instant) -> list[Effect]:
        witness = _witness.decode(message.payload)
        fault = _speaker_fault(witness, store)
        if isinstance(witness, Malformed) or fault:
            return [Note("warning", f"a witness of store {store}: {fault}")]
        self._reign.on_witness(witness, message.reply, now)
        return []

    def _on_here(self, store: str, message: Message, now: Instant) -> list[Effect]:
        here = _here.decode(message.payload)
        fault = _speaker_fault(here, store)
        if isinstance(here, Malformed) or fault:
            return [Note("warning", f"a sign of life of store {store}: {fault}")]
        state = self._reign.state
        if gone := find_removed(state, here):
            refused = Witnessed(state.epoch, gone, state.incarnation)
            return _reply(message, _witnessed.encode(refused)) if self._reign.judges else []
        known = state.accepted(here.store)
        if known and here.cluster == state.cluster and here.boot >= known.boot:
            self._reign.watch.hear(here.store, now)
        return []

    def _on_ids(self, store: str, message: Message, now: Instant) -> list[Effect]:
        ask = _ask_ids.decode(message.payload)
        fault = _speaker_fault(ask, store)
        if isinstance(ask, Malformed) or fault:
            return [Note("warning", f"a question for ids of store {store}: {fault}")]
        if self._reign.may_order and ask.cluster == self._reign.state.cluster:
            self._reign.changes.splits.asked(ask, now)
        return []

    def _on_fate(self, store: str, message: Message) -> list[Effect]:
        ask = _ask_fate.decode(message.payload)
        fault = _speaker_fault(ask, store)
        if isinstance(ask, Malformed) or fault:
            return [Note("warning", f"a question of store {store} for a replica's fate: {fault}")]
        reign = self._reign
        member = ask.store in reign.state.stores and ask.cluster == reign.state.cluster
        if member and reign.may_order:
            told = fate(ask, reign.state, reign.heard)
            if told is not None:
                reign.try_to_give(told)
        return []

    def _on_split_ended(self, store: str, message: Message) -> list[Effect]:
        said = _split_ended.decode(message.payload)
        fault = _speaker_fault(said, store)
        if isinstance(said, Malformed) or fault:
            return [Note("warning", f"the end of a split of store {store}: {fault}")]
        self._reign.changes.splits.ended(said)
        return []

    def _on_merge_ended(self, store: str, message: Message) -> list[Effect]:
        said = _merge_ended.decode(message.payload)
        fault = _speaker_fault(said, store)
        if isinstance(said, Malformed) or fault:
            return [Note("warning", f"the end of a merge of store {store}: {fault}")]
        self._reign.changes.merges.ended(said)
        return []

    def _on_wish(self, what: str, message: Message, now: Instant) -> list[Effect]:
        reign = self._reign
        if not reign.may_order:
            failure = PdFailure("not_ready", f"PD is not ready: {reign.doing}", "try again soon")
            return _reply(message, _json(failure))
        asked = what, message.payload, message.reply
        reign.changes.wish(*asked, reign.state, reign.heard, now)
        return []

    def _read(self, what: str, payload: bytes, now: Instant) -> bytes:
        reign = self._reign
        readers: dict[str, Callable[[], bytes]] = {
            "routes": lambda: self._routes(payload),
            "regions": lambda: _json(answer_regions(reign.heard, reign.watch, payload)),
            "stores": lambda: _json(
                answer_stores(reign.state, reign.heard, reign.watch, reign.changes.drains, now)
            ),
            "status": lambda: _json(self.status()),
            "operators": lambda: _json(self._operators(payload, now)),
            "merges": lambda: _json(reign.changes.merge_wishes.tell(payload)),
        }
        reader = readers.get(what)
        return reader() if reader else _json(_unknown("get", what, tuple(sorted(readers))))

    def _operators(self, payload: bytes, now: Instant) -> OperatorsAnswer | PdFailure:
        reign = self._reign
        return answer_operators(
            reign.state.operators,
            lambda one: reign.changes.conductor.row(one, reign.state, reign.heard, now),
            payload,
        )

    def _routes(self, payload: bytes) -> bytes:
        query = _routes_query.decode(payload)
        if isinstance(query, Malformed):
            hint = "routes are for programs; people ask pd.get.regions"
            return _json(PdFailure("malformed", query.reason, hint))
        ready = not self._reign.doing
        return _routes_answer.encode(
            answer_routes(self._reign.state, self._reign.heard, ready, query)
        )


def _speaker_fault(
    told: AskFate | AskIds | Here | Join | MergeEnded | SplitEnded | Witness | Malformed, store: str
) -> str:
    if isinstance(told, Malformed):
        return f"cannot be understood: {told.reason}"
    return "" if str(told.store) == store else f"names store {told.store}, came as store {store}"


def _unknown(root: str, what: str, known: tuple[str, ...]) -> PdFailure:
    hint = f"PD knows {', '.join(known)}"
    return PdFailure("unknown_request", f"there is no pd.{root}.{what}", hint)


def _json(answer: msgspec.Struct) -> bytes:
    return msgspec.json.encode(answer)


def _reply(message: Message, payload: bytes) -> list[Effect]:
    return [Send(message.reply, payload)] if message.reply else []
