"""The operations port: what goes wrong beside it is told as it is, and that it is taken at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from flaredb.playground.ports import free_port
from flaredb.runtime.listening import CannotListen, listen
from flaredb.runtime.ops import ops_routes, serve_ops
from tests.nats_server import NatsServer, dying_with_parent

END_SECONDS = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Broken(Exception):
    """What a process dies of."""


@pytest.mark.anyio
@pytest.mark.parametrize("serves", [True, False])
async def test_what_ends_the_process_is_not_wrapped(serves: bool) -> None:
    address = f"127.0.0.1:{free_port()}" if serves else ""
    with pytest.raises(Broken, match="why"):
        async with serve_ops(address, ops_routes(lambda: "", dict, {})):
            raise Broken("why")


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_it_answers_at_every_kind_of_address(host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    port = free_port()
    async with (
        serve_ops(f"{host}:{port}", ops_routes(lambda: "", dict, {})),
        await anyio.connect_tcp(host.strip("[]"), port) as line,
    ):
        await line.send(b"GET /livez HTTP/1.0\r\n\r\n")
        said = b"".join([part async for part in line])
    assert said.startswith(b"HTTP/1.1 200") and said.endswith(b"ok\n")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.anyio
async def test_port_0_is_any_free_port() -> None:
    async with serve_ops("127.0.0.1:0", ops_routes(lambda: "", dict, {})):
        pass


@pytest.mark.anyio
async def test_an_address_that_is_taken_is_told_before_anything_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        said = rf"^cannot listen at {address}: Address already in use.* the setting http$"
        with pytest.raises(CannotListen, match=said):
            async with serve_ops(address, ops_routes(lambda: "", dict, {}), "http"):
                pytest.fail("it runs")


def test_addresses_of_a_name_that_this_machine_has_not_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = socket.AF_INET, socket.SOCK_STREAM, 0, ""
    found = [(*kind, (address, 0)) for address in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **how: found)
    [opened] = listen("myself:0")
    assert opened.getsockname()[0] == "127.0.0.1"
    opened.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **how: found[:1])
    with pytest.raises(CannotListen, match="Cannot assign requested address"):
        listen("myself:0")


@pytest.mark.parametrize(
    ("address", "why"),
    [("192.0.2.1:80", "assign"), ("127.0.0.1:70000", "no such port"), ("a..b:80", "label")],
)
def test_an_address_that_is_none_of_this_machine_is_told(address: str, why: str) -> None:
    with pytest.raises(CannotListen, match=f"^cannot listen at {address}: .*{why}"):
        listen(address)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("module", "name", "setting"),
    [
        ("flaredb.store", "flaredb store", "ops"),
        ("flaredb_pd", "flaredb_pd", "ops"),
        ("flaredb_analytics", "flaredb analytics", "http"),
    ],
)
def test_a_process_whose_address_is_taken_says_so_in_one_line(
    module: str, name: str, setting: str, nats_server: NatsServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = {
            "FLAREDB_NATS_URL": nats_server.url,
            "FLAREDB_DATA": str(tmp_path / "data"),
            f"FLAREDB_{setting.upper()}": address,
        }
        ended = subprocess.run(
            [*dying_with_parent(), sys.executable, "-m", module],
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            timeout=END_SECONDS,
        )
    assert ended.returncode == 1, ended
    assert ended.stderr == (
        f"{name}: cannot listen at {address}: Address already in use."
        f" Choose another address for the setting {setting}\n"
    )
