"""What `import flaredb` offers: the client, asynchronous and blocking, over NATS."""

from functools import partial
from typing import Final

from flaredb.bus.nats_bus import Login, NatsBus
from flaredb.client.client import Client
from flaredb.client.sync import BlockingClient
from flaredb.runtime.clock import seeded_jitter
from flaredb_schemas.subjects import DEFAULT_PREFIX

DEFAULT_URL: Final = "nats://127.0.0.1:4222"
NOBODY: Final = Login()
"""The login where the server asks for none."""

CONNECT_SECONDS: Final = 5.0
"""How long connecting may take, where a call may not take less."""


class AsyncClient(Client):
    """A client of the cluster that is reached at `url`; use it as an async context manager.

    `prefix` is the first word(s) of the cluster's subjects, `timeout` the time budget of a call in
    seconds, unless the call names its own, and of connecting, which never takes more than five;
    `login` is who the client is for NATS.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = 10.0,
        login: Login = NOBODY,
    ) -> None:
        connect = partial(
            NatsBus.connect,
            url,
            name="flaredb-client",
            login=login,
            timeout=min(timeout, CONNECT_SECONDS),
        )
        super().__init__(connect, prefix=prefix, timeout=timeout, jitter=seeded_jitter())


def connect(
    url: str = DEFAULT_URL,
    *,
    prefix: str = DEFAULT_PREFIX,
    timeout: float = 10.0,
    login: Login = NOBODY,
) -> BlockingClient:
    """An open client whose calls block; use it as a context manager, or `close` it.

    Raises `UnavailableError` where no NATS server answers at `url` in time.
    """
    return BlockingClient(partial(AsyncClient, url, prefix=prefix, timeout=timeout, login=login))
