"""Who a process is for NATS, out of its settings."""

import ssl

from flaredb.bus.nats_bus import Login
from flaredb.runtime.settings import BusSettings


def login_of(settings: BusSettings) -> Login:
    """The login that `settings` describe; raises `OSError` for a CA file that cannot be read."""
    tls = ssl.create_default_context(cafile=settings.nats_ca) if settings.nats_ca else None
    return Login(
        user=settings.nats_user,
        password=settings.nats_password,
        credentials=settings.nats_creds,
        tls=tls,
    )
