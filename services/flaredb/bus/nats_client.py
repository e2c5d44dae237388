"""nats-py's client, not in the clear where TLS was asked for; and why nobody could be reached.

Left alone it does as the server says: to one without TLS it would send names and passwords in the
clear, whatever the address and the settings say.
"""

from typing import Final
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from flaredb.bus.bus import BusError

SCHEMES: Final = ("nats", "tls", "ws", "wss")
NO_TLS: Final = "the server does not speak TLS"


class SecureClient(Client):
    """A client that ends the connection before it says who it is, where that must be secret."""

    def _connect_command(self) -> bytes:
        server = self._current_server
        wanted = "tls" in self.options or (server is not None and server.uri.scheme == "tls")
        if wanted and not self._server_info.get("tls_required"):
            raise nats.errors.Error(NO_TLS)
        return super()._connect_command()


def check_address(server: str) -> None:
    """Raise `BusError` for what cannot be the address of a server."""
    if "//" not in server:
        return  # nats-py takes a host alone, with or without a port
    try:
        parts = urlsplit(server)
        fits = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a bracket that is not closed, or a port that is no number
        fits = False
    if not fits:
        raise BusError(f"{server} is no address of NATS", "write it as nats://host:port")


def explained(url: str, timeout: float, why: str) -> BusError:
    """Nobody answered at `url`, for the last reason that was told."""
    text = f"no NATS server answers at {url} within {timeout:g} s ({why or 'no answer'})"
    if "certificate" in why.lower():
        return BusError(text, "name the file of the CA that signed it in the setting nats_ca")
    if NO_TLS in why:
        return BusError(text, "give it a certificate, or take nats:// and no nats_ca")
    return BusError(f"{text}; is nats-server running there?")
