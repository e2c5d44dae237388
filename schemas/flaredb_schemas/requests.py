"""What a client may ask of a store and what it may be answered.

Requests and answers travel in frames: a client sends what it has for one store in one message, and
gets answers, numbered as it numbered the requests, in one or more messages to its own inbox. The
order of answers is not the order of requests.
"""

from msgspec import Struct

from flaredb_schemas.commands import Key, Outcome
from flaredb_schemas.failures import Refusal
from flaredb_schemas.ids import Index, RegionId, StoreId, Term
from flaredb_schemas.regions import Count, Route

MAX_SCAN_ROWS = 1_000
MAX_SCAN_BYTES = 512 * 1024
"""A scan page ends at whichever limit comes first; it always holds at least one row."""

MAX_GET_KEYS = 1_024
MAX_GET_BYTES = 768 * 1024
"""What the values of one `GetAnswer` take at most; beyond it `AnswerTooLarge`, unless one alone."""


class WriteRequest(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Execute `batch` (an encoded `commands.Batch`) in the region, at this version of it."""

    number: Count
    region: RegionId
    version: Count
    batch: bytes


class GetRequest(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Read some keys of one region, linearizably."""

    number: Count
    region: RegionId
    version: Count
    keys: tuple[Key, ...]


class ScanRequest(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """Read one page of `[start, end)` within one region, linearizably."""

    number: Count
    region: RegionId
    version: Count
    start: Key
    end: Key
    limit: Count
    reverse: bool = False


class CheckRequest(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """Ask the leader to have all replicas hash their state at one applied index."""

    number: Count
    region: RegionId
    nonce: Count


class HashRequest(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """Ask any replica for the hash that a check with this nonce produced."""

    number: Count
    region: RegionId
    nonce: Count


class StoreStatusRequest(Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Ask a store what it hosts, as it knows it itself; answered from the region `first` on."""

    number: Count
    first: RegionId = RegionId(0)


Request = WriteRequest | GetRequest | ScanRequest | CheckRequest | HashRequest | StoreStatusRequest


class RequestFrame(Struct, frozen=True, array_like=True):
    """What one client asks of one store at one moment. `client` is the client's own id."""

    client: Count
    requests: tuple[Request, ...]


class WriteAnswer(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """The batch was executed: an outcome for each op that the request carried, in its order.

    `time` is the region's time after it.
    """

    number: Count
    time: Count
    outcomes: tuple[Outcome, ...]


class GetAnswer(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The values in the order of the keys, None where a key is absent."""

    number: Count
    values: tuple[bytes | None, ...]


class ScanAnswer(Struct, frozen=True, array_like=True, gc=False, tag=3):
    """One page of rows in scan order; `more` says whether the range holds further ones."""

    number: Count
    rows: tuple[tuple[bytes, bytes], ...]
    more: bool


class CheckAnswer(Struct, frozen=True, array_like=True, gc=False, tag=4):
    """The check stands in the log at `index`; ask the stores of `route` for their hashes."""

    number: Count
    index: Index
    route: Route


class HashAnswer(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """The replica's hash (hexadecimal) of rows and sessions at `index`."""

    number: Count
    index: Index
    hash: str
    keys: Count
    bytes: Count


class ReplicaStatus(Struct, frozen=True, array_like=True):
    """One replica as its store sees it; `state` is live, installing or damaged.

    Of a damaged one perhaps only the region's id is known: then its epoch is 0 and it has no peers.
    """

    route: Route
    state: str
    applied: Index
    committed: Index
    last_index: Index
    term: Term
    asleep: bool
    bytes: Count
    keys: Count


class StoreStatusAnswer(Struct, frozen=True, array_like=True, gc=False, tag=6):
    """What the store hosts, in order of region id; `next` continues, 0 when finished."""

    number: Count
    store: StoreId
    replicas: tuple[ReplicaStatus, ...]
    next: RegionId


class Refused(Struct, frozen=True, array_like=True, gc=False, tag=7):
    """The request was not carried out, for this reason.

    `outcomes` of a write are never partly refused: a refusal concerns the whole batch.
    """

    number: Count
    refusal: Refusal


Answer = (
    WriteAnswer | GetAnswer | ScanAnswer | CheckAnswer | HashAnswer | StoreStatusAnswer | Refused
)


class AnswerFrame(Struct, frozen=True, array_like=True):
    """Some answers of one store to one client."""

    store: StoreId
    answers: tuple[Answer, ...]
