"""Two processes on one store's data, one of them on a copy: at most one may speak.

Whoever starts asks its own subject first: if somebody answers there, the store runs already. Should
that one have been deaf at the moment (paused, cut off), it learns of its successor from the
successor's first word, and ends.
"""

from typing import Final

from flaredb.bus.bus import Bus
from flaredb.store.context import Me
from flaredb.store.outgoing import FRAMES
from flaredb.store.serving import REQUESTS
from flaredb_schemas.envelope import Codec, Malformed
from flaredb_schemas.frames import StoreFrame
from flaredb_schemas.ids import NO_REGION, StoreId
from flaredb_schemas.requests import AnswerFrame, RequestFrame, StoreStatusRequest
from flaredb_schemas.subjects import Subjects

ANSWER_SECONDS: Final = 1.0
"""How long a running twin may take to answer."""

_answers: Final = Codec[AnswerFrame](AnswerFrame)


async def find_twin(bus: Bus, subjects: Subjects, me: StoreId, folder: str) -> str:
    """Why the store `me` must not start on `folder`; "" if nobody answers in its name."""
    call = REQUESTS.encode(RequestFrame(0, (StoreStatusRequest(0),)))
    answer = await bus.request(subjects.rpc(me), call, timeout=ANSWER_SECONDS)
    if answer is None or isinstance(_answers.decode(answer), Malformed):
        return ""
    return (
        f"a store {me} runs here already: the data folder {folder} is a copy of its, or belongs "
        "to another cluster. Start with an empty folder to join as a new store, or mend "
        "FLAREDB_NATS_URL or FLAREDB_PREFIX"
    )


def say_first_word(bus: Bus, subjects: Subjects, me: Me) -> None:
    """Tell whoever still runs as this store that it has a successor."""
    bus.send(subjects.raft(NO_REGION, me.store, me.store), FRAMES.encode(StoreFrame(me.boot)))


def has_successor(me: Me, payload: bytes) -> bool:
    """Whether this frame, which came under the own id, is of a later start than this one."""
    frame = FRAMES.decode(payload)
    return not isinstance(frame, Malformed) and frame.boot > me.boot
