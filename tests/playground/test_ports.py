"""Ports of a playground: no two processes get the same one, and one that is lost is replaced."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flaredb.playground import ports
from flaredb.playground.ports import LOCALHOST, Ports
from flaredb.playground.process import ProcessFailed
from flaredb.playground.record import read_record
from flaredb.playground.supervisor import MOST_PORTS
from flaredb.testing import LocalCluster

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")

real_free_port = ports.free_port


@contextmanager
def occupied(port: int = 0) -> Iterator[int]:
    """Somebody else listens on this port, or on any for 0."""
    with socket.create_server((LOCALHOST, port)) as other:
        yield other.getsockname()[1]


def offer(monkeypatch: pytest.MonkeyPatch, *first: int) -> None:
    """Have these taken for free ports at first."""
    offered = iter(first)
    monkeypatch.setattr(ports, "free_port", lambda: next(offered, 0) or real_free_port())


def test_no_two_processes_have_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, 20_001, 20_001, 20_003, 20_002, 20_002, 20_004, 20_002)
    given = Ports()
    assert given.address("[::1]:20003") == "[::1]:20003"
    assert given.claim() == 20_001
    first = given.another("")
    assert first == f"{LOCALHOST}:20002"
    assert given.another(first) == f"{LOCALHOST}:20004"
    assert given.claim() == 20_002


@pytest.mark.skipif(not OUTGOING.exists(), reason="only Linux tells which ports these are")
def test_a_free_port_is_none_of_those_of_outgoing_connections() -> None:
    first, last = map(int, OUTGOING.read_text().split())
    if first < 30_000:
        pytest.skip("this machine is set up to give nearly all ports to outgoing connections")
    assert not first <= ports.free_port() <= last


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """One store, not started yet."""
    one = {"replicas": "1"}
    made = LocalCluster(tmp_path, stores=1, analytics=False, settings=one)
    yield made
    made.close()


@pytest.mark.cluster
def test_a_process_whose_port_was_taken_gets_another(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with occupied() as first, occupied() as second:
        offer(monkeypatch, first, second)
        cluster.start()
    record = read_record(cluster.path)
    assert record is not None
    ops = {process.name: process.ops for process in record.processes}
    assert not {f"{LOCALHOST}:{first}", f"{LOCALHOST}:{second}"} & {*ops.values()}
    told = {process.name: process.settings.get("FLAREDB_OPS", "") for process in record.processes}
    assert ops == told and ops["nats"] == ""
    with cluster.connect(timeout=30.0) as db:
        db.put(b"a", b"1")
    assert cluster.dead() == [] and cluster.leaderships(1) > 0
    for name in ("pd", "store-1"):
        text = cluster.children[name].log.read_text()
        assert text.count("cannot listen at") == 1 and "Traceback" not in text


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["pd", "store-1"])
def test_a_port_that_was_taken_meanwhile_is_in_nobodys_way(
    cluster: LocalCluster, name: str
) -> None:
    cluster.start()
    cluster.kill(name)
    before = cluster.children[name].ops
    with occupied(int(before.rpartition(":")[2])):
        cluster.restart(name)
        assert cluster.children[name].ops != before
        cluster.figures(name)
        assert not cluster.children[name].why_not_ready()


@pytest.mark.cluster
def test_it_fails_where_every_port_was_taken(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as others:
        taken = [others.enter_context(occupied()) for _ in range(MOST_PORTS + 1)]
        cluster.start()
        cluster.kill("pd")
        offer(monkeypatch, *taken)
        with pytest.raises(ProcessFailed, match=f"pd ended with code 1.*\n.*:{taken[-2]}: Addr"):
            cluster.restart("pd")
