"""What a leader does when a store says that it has no such member."""

from flaredb.raft.progress import ProgressState
from flaredb_schemas.ids import Index, PeerId, Term
from flaredb_schemas.raft import Append, Message, SnapshotMeta, SnapshotOffer
from tests.raft.group import Group, group_of, led_by

ONE, TWO, THREE = PeerId(1), PeerId(2), PeerId(3)


def said_to(group: Group, peer: PeerId) -> list[Message]:
    """What the leader has to say to `peer` now."""
    ready = group[1].ready()
    return [send.message for send in ready.send_now if send.to == peer] if ready else []


def offer(group: Group) -> SnapshotMeta:
    """The leader has a state to send."""
    meta = SnapshotMeta(Index(6), Term(6), group[1].configuration)
    group.hosts[ONE].storage.offer_snapshot(meta)
    return meta


def test_whoever_has_acknowledged_something_is_probed_and_gets_no_snapshot() -> None:
    group = led_by(1, 3)
    offer(group)
    group[1].report_absent(TWO, is_welcome=True)
    assert said_to(group, TWO) == []
    group[1].report_absent(TWO, is_welcome=False)
    (probe,) = said_to(group, TWO)
    assert isinstance(probe, Append)
    assert group[1].status().progress[TWO].state is ProgressState.PROBE


def test_whoever_never_was_there_is_probed_and_then_sent_the_whole_state() -> None:
    group = group_of(3)
    group[1].campaign()
    group.run([ONE, TWO])
    meta = offer(group)
    group[1].report_absent(THREE, is_welcome=False)
    (probe,) = said_to(group, THREE)
    assert isinstance(probe, Append), "where no room is, nothing is sent that needs it"
    group[1].report_absent(THREE, is_welcome=True)
    assert said_to(group, THREE) == [SnapshotOffer(Term(6), meta)]
    group[1].report_absent(THREE, is_welcome=True)
    assert said_to(group, THREE) == [], "one is on its way"


def test_whoever_is_not_there_is_asked_once_per_heartbeat() -> None:
    """Else question and answer would follow each other as fast as the network is, and where it
    repeats what it carries they would multiply."""
    group = led_by(1, 3)
    said_to(group, TWO)
    asked = 0
    for _ in range(50):
        group[1].report_absent(TWO, is_welcome=False)
        asked += len(said_to(group, TWO))
    assert asked == 1
    group[1].beat()
    said_to(group, TWO)
    group[1].report_absent(TWO, is_welcome=False)
    assert len(said_to(group, TWO)) == 1


def test_only_a_leader_listens() -> None:
    group = led_by(1, 3)
    group[2].report_absent(ONE, is_welcome=True)
    group[2].report_absent(ONE, is_welcome=False)
    assert group[2].ready() is None
