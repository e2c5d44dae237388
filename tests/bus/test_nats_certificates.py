"""A server that speaks TLS is believed by its certificate, whatever its address looks like."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from flaredb.bus.bus import BusError
from flaredb.bus.nats_bus import Login, NatsBus
from tests.bus.worlds import NatsWorld

pytestmark = pytest.mark.anyio


async def carries(bus: NatsBus) -> None:
    """Have a message go out and come back."""
    heard = asyncio.Event()
    await bus.subscribe("words", lambda message: heard.set())
    bus.send("words", b"")
    async with asyncio.timeout(5):
        await heard.wait()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """One for this host that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made_for = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made_for]
    subprocess.run([*make, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


async def test_a_server_is_believed_by_its_certificate(
    nats_world: NatsWorld, certificate: tuple[Path, Path]
) -> None:
    trusted, key = certificate
    nats_world.server.stop()
    nats_world.server.extra = f'tls {{ cert_file: "{trusted}", key_file: "{key}" }}'
    nats_world.server.start()
    trusting = Login(tls=ssl.create_default_context(cafile=str(trusted)))

    for url in (nats_world.server.url, nats_world.server.url.replace("nats://", "tls://")):
        bus = await NatsBus.connect(url, name="one", login=trusting)
        await carries(bus)
        await bus.close()
        with pytest.raises(BusError, match="certificate verify failed") as told:
            await NatsBus.connect(url, name="two", timeout=0.5)
        assert "nats_ca" in told.value.hint


async def test_who_wants_tls_says_nothing_in_the_clear(nats_world: NatsWorld) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "x", "version": "2.12.0", "max_payload": 1048576}\r\n')
        heard.append(await reader.read(1_000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked: list[tuple[str, ssl.SSLContext | None]] = [(f"tls://127.0.0.1:{port}", None)]
    asked += [(f"nats://127.0.0.1:{port}", ssl.create_default_context())]
    for fast in (True, False):
        for url, tls in asked:
            login = Login(user="u", password="secret", tls=tls)
            with pytest.raises(BusError, match="does not speak TLS"):
                await NatsBus.connect(url, name="u", login=login, timeout=0.5, fast=fast)
    server.close()
    assert heard and not any(heard)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4222", "nats://127.0.0.1:port", "nats://"])
async def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(BusError, match="no address of NATS"):
        await NatsBus.connect(url, name="one", timeout=60)
