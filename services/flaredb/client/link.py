"""Frames to stores and answers from them: one frame per store and turn of the event loop.

The link knows numbers, stores and bytes, not what is asked. Whoever posts a request is told of its
answer, or that nobody listens at the store; silence it has to notice by itself.
"""

from typing import Final, Protocol

from msgspec import Struct

from flaredb.bus.bus import Bus, Message, Subscription
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.ids import StoreId
from flaredb_schemas.keys import MAX_FRAME_BYTES
from flaredb_schemas.requests import Answer, AnswerFrame, Request, RequestFrame
from flaredb_schemas.subjects import Subjects

FRAME_ROOM: Final = MAX_FRAME_BYTES - 4_096
"""How many bytes of requests one frame may carry."""

REQUEST_OVERHEAD: Final = 48
"""Bytes that an encoded request needs at most besides its keys, values and batch."""

_requests: Final = Codec[RequestFrame](RequestFrame)
_answers: Final = Codec[AnswerFrame](AnswerFrame)


class Asker(Protocol):
    """Who posted a request."""

    def answered(self, answer: Answer, store: StoreId) -> None:
        """An answer has come, to the last posted request or to an earlier one."""
        ...

    def unheard(self, store: StoreId, sure: bool) -> None:
        """Nobody listens at `store`; `sure` if the request certainly did not arrive there."""
        ...

    def unsent(self) -> None:
        """The bus did not take the request: it certainly did not arrive anywhere."""
        ...


class _Posted(Struct):
    """A request under way: whose, to whom, and in which frame (0: not sent yet)."""

    asker: Asker
    store: StoreId
    frame: int = 0


class _Outgoing:
    """What waits for the end of the turn, for one store."""

    __slots__ = ("bytes", "requests")

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.bytes = 0


class Link:
    """One client's inbox and what it has asked.

    Invariants: `_posted` holds every request that was neither answered nor forgotten; a number is
    never used twice; what stands in `_outgoing` has not been sent.
    """

    def __init__(self, bus: Bus, subjects: Subjects, client: int) -> None:
        self._bus = bus
        self._subjects = subjects
        self._client = client
        self._inbox = bus.new_inbox()
        self._subscription: Subscription | None = None
        self._posted: dict[int, _Posted] = {}
        self._outgoing: dict[StoreId, _Outgoing] = {}
        self._numbers = 0
        self._frames = 0

    @property
    def connected(self) -> bool:
        """Whether a frame could leave now."""
        return self._bus.connected

    async def open(self) -> None:
        """Start to hear answers."""
        self._subscription = await self._bus.subscribe(f"{self._inbox}.*", self._hear)

    async def close(self) -> None:
        """Stop to hear answers; what is under way stays unanswered."""
        if self._subscription is not None:
            await self._subscription.stop()

    def next_number(self) -> int:
        """A number for a new request."""
        self._numbers += 1
        return self._numbers

    def post(self, store: StoreId, request: Request, size: int, asker: Asker) -> None:
        """Send `request`, of about `size` bytes, to `store` with the next `flush`."""
        assert size <= FRAME_ROOM, "callers keep requests below the frame's limit"
        outgoing = self._outgoing.get(store)
        if outgoing is None:
            outgoing = self._outgoing[store] = _Outgoing()
        if outgoing.bytes + size > FRAME_ROOM:
            self._send(store, outgoing)
            outgoing = self._outgoing[store] = _Outgoing()
        outgoing.requests.append(request)
        outgoing.bytes += size
        self._posted[request.number] = _Posted(asker, store)

    def forget(self, number: int) -> None:
        """Nobody waits for this request any more."""
        self._posted.pop(number, None)

    def flush(self) -> None:
        """Send what this turn has gathered."""
        while self._outgoing:
            store, outgoing = self._outgoing.popitem()
            self._send(store, outgoing)

    def _send(self, store: StoreId, outgoing: _Outgoing) -> None:
        self._frames += 1
        frame = self._frames
        for request in outgoing.requests:
            posted = self._posted.get(request.number)
            if posted is not None:
                posted.frame = frame
        payload = _requests.encode(RequestFrame(self._client, tuple(outgoing.requests)))
        reply = f"{self._inbox}.{frame}"
        if not self._bus.send(self._subjects.rpc(store), payload, reply):
            for number in [number for number, sent in self._posted.items() if sent.frame == frame]:
                self._posted.pop(number).asker.unsent()

    def _hear(self, message: Message) -> None:
        if message.no_responders:
            self._hear_nobody(message.subject.rpartition(".")[2])
            return
        heard = _answers.decode(message.payload)
        if isinstance(heard, Malformed):
            return
        for answer in heard.answers:
            posted = self._posted.pop(answer.number, None)
            if posted is not None:
                posted.asker.answered(answer, heard.store)

    def _hear_nobody(self, frame_word: str) -> None:
        """A frame reached nobody; earlier ones to the same store are as good as lost."""
        frame = int(frame_word) if frame_word.isdecimal() else 0
        store = next((sent.store for sent in self._posted.values() if sent.frame == frame), None)
        if not frame or store is None:
            return
        lost = [item for item in self._posted.items() if item[1].store == store and item[1].frame]
        for number, sent in lost:
            del self._posted[number]
            sent.asker.unheard(store, sure=sent.frame == frame)
