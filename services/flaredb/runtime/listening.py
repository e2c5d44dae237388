"""Sockets that listen at an address, or a clear word why they cannot."""

import errno
import os
import socket
from contextlib import ExitStack
from typing import Final

CANNOT_LISTEN: Final = "cannot listen at"

_NOT_HERE: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""The machine has no addresses of this kind, or not this one."""

_BACKLOG: Final = 2_048
_LAST_PORT: Final = 65_535


class CannotListen(Exception):
    """Nobody can begin to listen at this address now; `reason` is in the system's words."""

    def __init__(self, address: str, reason: str, setting: str = "") -> None:
        advice = f". Choose another address for the setting {setting}" if setting else ""
        super().__init__(f"{CANNOT_LISTEN} {address}: {reason}{advice}")
        self.reason = reason


def listen(address: str, setting: str = "") -> list[socket.socket]:
    """Sockets that listen at `host:port`, one for each address that the host has here.

    Port 0 is a free one. Raises `CannotListen`, which names the `setting` that the address comes
    from.
    """
    host, _, port = address.rpartition(":")
    if int(port) > _LAST_PORT:  # the system would take its lower 16 bits
        raise CannotListen(address, "there is no such port", setting)
    with ExitStack() as undo:
        try:
            places = socket.getaddrinfo(
                host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            opened, missing = [], None
            for family, kind, protocol, _, place in dict.fromkeys(places):
                try:
                    opened.append(undo.enter_context(_listen(family, kind, protocol, place)))
                except OSError as fault:
                    if fault.errno not in _NOT_HERE:
                        raise
                    missing = fault  # a name may stand for more than this machine has
            if missing is not None and not opened:
                raise missing
        except (OSError, UnicodeError) as fault:  # the latter: of what cannot be a host's name
            told = getattr(fault, "strerror", None) or str(fault)
            raise CannotListen(address, told, setting) from fault
        undo.pop_all()
    return opened


def _listen(family: int, kind: int, protocol: int, place: tuple[object, ...]) -> socket.socket:
    with ExitStack() as undo:
        opened = undo.enter_context(socket.socket(family, kind, protocol))
        if os.name == "posix":
            # Else nobody could listen again for a minute where connections were open before.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has its own
        opened.bind(place)
        opened.listen(_BACKLOG)  # now: what is only bound can be bound by another
        undo.pop_all()
    return opened
