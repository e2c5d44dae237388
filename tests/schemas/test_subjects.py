"""Subjects: what is put into one comes out of it, and what is none of ours does not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.subjects import EVENT_NOUNS, JOURNAL_NOUNS, RaftAddress, Subjects

identifiers = st.integers(0, 2**63 - 1)
prefixes = st.from_regex(r"[A-Za-z0-9_-]{1,8}(\.[A-Za-z0-9_-]{1,8}){0,2}", fullmatch=True)


def matches(wildcard: str, subject: str) -> bool:
    """As NATS does it: `*` is one word, `>` at the end is one or more."""
    pattern = re.escape(wildcard).replace(r"\*", r"[^.]+").replace(re.escape(">"), ".+")
    return re.fullmatch(pattern, subject) is not None


@given(prefixes, identifiers, identifiers, identifiers)
def test_raft_address_round_trip(prefix: str, region: int, to: int, sender: int) -> None:
    subjects = Subjects(prefix)
    address = RaftAddress(RegionId(region), StoreId(to), StoreId(sender))
    raft = subjects.raft(address.region, address.to_store, address.from_store)
    snapshot = subjects.snapshot(address.region, address.to_store, address.from_store)
    assert subjects.raft_address(raft) == address
    assert subjects.raft_address(snapshot) == address
    assert matches(subjects.raft_inbox(address.to_store), raft)
    assert matches(subjects.snapshot_inbox(address.to_store), snapshot)
    assert not matches(subjects.raft_inbox(StoreId(to + 1)), raft)


@given(st.text(max_size=40))
def test_garbage_has_no_address_or_one_that_says_the_same(text: str) -> None:
    subjects = Subjects()
    for subject in (text, f"flaredb.raft.{text}", f"flaredb.{text}.1.2.3"):
        address = subjects.raft_address(subject)
        if address is not None:
            numbers = (address.region, address.to_store, address.from_store)
            assert subject.split(".")[2:] == [str(number) for number in numbers]


@pytest.mark.parametrize(
    "subject",
    [
        "flaredb.raft.1.2",
        "flaredb.raft.1.2.3.4",
        "flaredb.raft.1.2.-3",
        "flaredb.raft.1.2.x",
        "flaredb.raft.1..3",
        "flaredb.raft.1.2.99999999999999999999",
        "flaredb.rpc.1.2.3",
        "other00.raft.1.2.3",
        "flaredb.raft.1.2.٣",
        "flaredb.raft.1.2.03",
        "",
    ],
)
def test_no_address(subject: str) -> None:
    assert Subjects().raft_address(subject) is None


@pytest.mark.parametrize("prefix", ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "é", "a\n"])
def test_a_prefix_is_words_joined_by_dots(prefix: str) -> None:
    with pytest.raises(ValueError, match="subject prefix"):
        Subjects(prefix)


@given(prefixes)
def test_streams_are_apart_and_never_capture_a_request(prefix: str) -> None:
    subjects = Subjects(prefix)
    streams = {subjects.event_stream, subjects.heartbeat_stream, subjects.journal_stream}
    assert len(streams) == 3
    assert not any("." in stream for stream in streams)
    captured = [subjects.heartbeats]
    captured += [subjects.events_of(noun) for noun in (*EVENT_NOUNS, *JOURNAL_NOUNS)]
    store, region = StoreId(1), RegionId(2)
    requests = [
        subjects.rpc(store),
        subjects.pd_get("routes"),
        subjects.pd_admin("drain"),
        subjects.pd_request(store, "join"),
        subjects.pd_order(store),
        subjects.pd_advice("even"),
        subjects.pd_alive,
        subjects.raft(region, store, store),
        subjects.snapshot(region, store, store),
    ]
    assert not any(matches(stream, subject) for stream in captured for subject in requests)
    kept = [subjects.heartbeat(store), subjects.event("region.leader_changed", 2, "store-1")]
    kept.append(subjects.event("operator.created", "1.2", "pd-1"))
    assert all(sum(matches(stream, subject) for stream in captured) == 1 for subject in kept)
