"""What `import flaredb` offers: the client, asynchronous and blocking, over NATS."""

from functools import partial

from flaredb.bus.nats_bus import NatsBus
from flaredb.client.client import Client
from flaredb.client.sync import BlockingClient
from flaredb.runtime.clock import seeded_jitter
from flaredb_schemas.subjects import DEFAULT_PREFIX

DEFAULT_URL = "nats://127.0.0.1:4222"


class AsyncClient(Client):
    """A client of the cluster that is reached at `url`; use it as an async context manager.

    `prefix` is the first word(s) of the cluster's subjects, `timeout` the time budget of a call in
    seconds, unless the call names its own.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, prefix: str = DEFAULT_PREFIX, timeout: float = 10.0
    ) -> None:
        connect = partial(NatsBus.connect, url, name="flaredb-client")
        super().__init__(connect, prefix=prefix, timeout=timeout, jitter=seeded_jitter())


def connect(
    url: str = DEFAULT_URL, *, prefix: str = DEFAULT_PREFIX, timeout: float = 10.0
) -> BlockingClient:
    """An open client whose calls block; use it as a context manager, or `close` it.

    Raises `UnavailableError` where no NATS server answers at `url`.
    """
    return BlockingClient(partial(AsyncClient, url, prefix=prefix, timeout=timeout))
