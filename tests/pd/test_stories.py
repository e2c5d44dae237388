"""A cluster as text in; records, orders and answers out. The files say what each is about.

Commands: `pd NAME`, `pass SECONDS`, `join`, `witness`, `heartbeat`, `here`, `ids`, `ended`,
`merged`, `raw`, `routes`, `journal`, `cut`, `mend`, `pause`, `resume`, `kill`, `bus`, `stream`,
`foreign`.
"""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import BootCounter, PeerId, RegionId, StoreId
from flaredb_schemas.keys import KeyRange
from flaredb_schemas.merges import MergeEnded
from flaredb_schemas.placement import (
    DownPeer,
    Here,
    Join,
    PendingPeer,
    RegionReport,
    Witness,
)
from flaredb_schemas.regions import Epoch, Peer, PeerRole, Region
from flaredb_schemas.reported import report_peers
from flaredb_schemas.splits import AskIds, SplitEnded
from tests.pd.builders import (
    MINE,
    OTHER,
    heartbeat,
    join,
    pd_config,
    region_id,
    region_report,
    witness,
)
from tests.pd.describe import describe_region
from tests.pd.world import SUBJECTS, PdWorld
from tests.stories import Case, check_story

STORIES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))

_ask_ids: Codec[AskIds] = Codec(AskIds)
_split_ended: Codec[SplitEnded] = Codec(SplitEnded)
_merge_ended: Codec[MergeEnded] = Codec(MergeEnded)
_here: Codec[Here] = Codec(Here)
_join: Codec[Join] = Codec(Join)
_witness: Codec[Witness] = Codec(Witness)
_clusters = {"": "", "mine": MINE, "other": OTHER}


class Teller:
    """Runs the commands of one story."""

    def __init__(self) -> None:
        self.world = PdWorld()
        self.beats = 0

    def run(self, case: Case) -> str:
        """One command; what it made happen."""
        command: Callable[[Case], str | None] = getattr(self, f"do_{case.command}")
        with self.world.recorded() as lines:
            said = command(case)
        return "\n".join([*lines, *([said] if said else [])]) or "nothing"

    def do_pd(self, case: Case) -> str | None:
        ranges = tuple(_range(line) for line in case.input.splitlines())
        options = {"ranges": ranges} if ranges else {}
        try:
            config = pd_config(
                case.words[0],
                stores=int(case.option("stores", "3")),
                replicas=int(case.option("replicas", "3")),
                fresh="fresh" in case.words,
                balance="balance" in case.words,
                **options,
            )
        except ValueError as fault:
            return f"refuses to start: {fault}"
        self.world.start(config)
        return None

    def do_cluster(self, case: Case) -> str:
        """PD `a` and as many stores as it needs, and up to `stores` more, all up and told of.

        Each region is led by its first peer. With `zones=(a,b,...)` each store says where it
        stands; after `merge_after` calm seconds small neighbours are merged. So many ids as
        `granted` says were granted for splits. Says only what there is then.
        """
        replicas, stores = int(case.option("replicas", "3")), int(case.option("stores", "4"))
        ranges = tuple(_range(line) for line in case.input.splitlines()) or (KeyRange(b"", b""),)
        balance = "balance" in case.words
        config = pd_config("a", ranges=ranges, stores=replicas, replicas=replicas, balance=balance)
        after = float(case.option("merge_after", str(config.merge_after)))
        self.world.start(msgspec.structs.replace(config, merge_after=after))
        self.world.pass_time(3.1)
        zones = (*case.options.get("zones", ()), *[""] * stores)
        for letter, zone in zip("abcdef"[:stores], zones, strict=False):
            subject = SUBJECTS.pd_request(StoreId(0), "join")
            labels = {"zone": zone} if zone else {}
            self.world.tell(subject, _join.encode(join(letter, labels=labels)))
        state = self.world.pds["a"].state
        for store in state.stores:
            led = [one for one in state.regions if one.peers[0].store == store]
            self.beats += 1
            reports = [region_report(one, one.peers[0]) for one in led]
            beat = heartbeat(store, self.beats, reports, replicas=1)
            self.world.tell(SUBJECTS.heartbeat(store), msgspec.json.encode(beat))
        self._ask_ids(StoreId(1), region_id(4), 1, int(case.option("granted", "0")))
        self.world.pass_time(0.5)
        self.world.lines.clear()
        told = " ".join(map(str, state.stores))
        return "\n".join([f"stores {told}", *map(describe_region, state.regions)])

    def do_pass(self, case: Case) -> None:
        """With `here=(1,2)` these stores answer the keep-alives of that time, as they all do."""
        left, stores = float(case.words[0]), case.options.get("here", ())
        while left > 0:
            for store in stores:
                here = _here.encode(Here(StoreId(int(store)), BootCounter(1), MINE))
                self.world.tell(SUBJECTS.pd_request(StoreId(int(store)), "here"), here)
            self.world.pass_time(min(left, 1.0))
            left -= 1.0

    def do_join(self, case: Case) -> None:
        uuid, store = case.words[0], int(case.option("store", "0"))
        asked = join(
            uuid,
            store=store,
            boot=int(case.option("boot", "1")),
            cluster=_clusters[case.option("cluster")],
            nonce=case.option("nonce"),
            starts=tuple(filter(None, case.option("starts").split(","))),
            accepted=int(case.option("accepted", "0")),
            generation=int(case.option("generation", "0")),
            seen=_seen(case),
            by=case.option("by"),
            bootstrapped="bootstrapped" in case.words,
        )
        subject = SUBJECTS.pd_request(StoreId(int(case.option("as", str(store)))), "join")
        self.world.tell(subject, _join.encode(asked), f"join.{uuid}")

    def do_witness(self, case: Case) -> None:
        store = int(case.words[0])
        said = witness(
            store,
            case.words[1],
            boot=int(case.option("boot", "1")),
            cluster=_clusters[case.option("cluster", "mine")],
            seen=_seen(case),
            by=case.option("by"),
        )
        subject = SUBJECTS.pd_request(StoreId(store), "witness")
        self.world.tell(subject, _witness.encode(said), f"witness.{store}")

    def do_heartbeat(self, case: Case) -> None:
        store = int(case.words[0])
        self.beats += 1
        beat = heartbeat(
            store,
            int(case.option("number", str(self.beats))),
            [],
            boot=int(case.option("boot", "1")),
            cluster=_clusters[case.option("cluster", "mine")],
            replicas=int(case.option("replicas", "2")),
            generation=int(case.option("generation", "0")),
            full="partial" not in case.words,
        )
        reports = tuple(_report(line, store) for line in case.input.splitlines())
        about = msgspec.structs.replace(beat.store, free=int(case.option("free", "900")))
        beat = msgspec.structs.replace(beat, store=about, regions=reports)
        self.world.tell(SUBJECTS.heartbeat(StoreId(store)), msgspec.json.encode(beat))

    def do_here(self, case: Case) -> None:
        store, boot = StoreId(int(case.words[0])), BootCounter(int(case.option("boot", "1")))
        said = _here.encode(Here(store, boot, MINE))
        sender = StoreId(int(case.option("as", case.words[0])))
        self.world.tell(SUBJECTS.pd_request(sender, "here"), said, f"witness.{sender}")

    def do_ids(self, case: Case) -> None:
        store, asked = StoreId(int(case.words[0])), int(case.option("count", "4"))
        region, nonce = region_id(int(case.option("region"))), int(case.option("nonce"))
        self._ask_ids(store, region, nonce, asked)

    def _ask_ids(self, store: StoreId, region: RegionId, nonce: int, count: int) -> None:
        if count:
            ask = AskIds(store, BootCounter(1), MINE, region, nonce, count)
            self.world.tell(SUBJECTS.pd_request(store, "ids"), _ask_ids.encode(ask))

    def do_ended(self, case: Case) -> None:
        store, region = StoreId(int(case.words[0])), region_id(int(case.option("region")))
        ids = (int(word) for word in case.option("regions").split(",") if word)
        made = tuple(Region(region_id(one), KeyRange(b"", b""), Epoch(1, 2), ()) for one in ids)
        nonce, refused = int(case.option("nonce")), case.input
        said = SplitEnded(store, BootCounter(1), MINE, region, nonce, made, refused)
        self.world.tell(SUBJECTS.pd_request(store, "split"), _split_ended.encode(said))

    def do_merged(self, case: Case) -> None:
        store, region = StoreId(int(case.words[0])), region_id(int(case.option("region")))
        nonce, refused = int(case.option("nonce")), case.input
        said = MergeEnded(store, BootCounter(1), MINE, region, nonce, refused)
        self.world.tell(SUBJECTS.pd_request(store, "merge"), _merge_ended.encode(said))

    def do_raw(self, case: Case) -> None:
        self.world.tell(f"flaredb.{case.words[0]}", case.input.encode(), "raw")

    def do_routes(self, case: Case) -> None:
        start, limit = case.option("start").encode(), int(case.option("limit", "128"))
        self.world.ask_routes(start, limit)

    def do_journal(self, case: Case) -> str:
        return "\n".join(self.world.journal()) or "empty"

    def do_cut(self, case: Case) -> None:
        self.world.cut.add(case.words[0])

    def do_mend(self, case: Case) -> None:
        self.world.cut.discard(case.words[0])

    def do_pause(self, case: Case) -> None:
        self.world.paused.add(case.words[0])

    def do_resume(self, case: Case) -> None:
        self.world.paused.discard(case.words[0])

    def do_kill(self, case: Case) -> None:
        del self.world.pds[case.words[0]]

    def do_bus(self, case: Case) -> None:
        name, how = case.words
        self.world.connect(name, how == "up")

    def do_stream(self, case: Case) -> None:
        world, (how, *rest) = self.world, case.words
        if how == "lost":
            world.lose_journal()
        elif how == "rewound":
            world.stream.rewind(int(rest[0]))
        elif how == "expired":
            world.stream.expire_before(int(rest[0]))
        elif how in ("dark", "lit"):
            world.dark = how == "dark"
        else:
            assert how in ("yes", "lost-answers", "none"), how
            world.answers = {"lost-answers": "lost"}.get(how, how)

    def do_foreign(self, case: Case) -> None:
        subject = f"flaredb.evt.pd.{case.words[0]}"
        self.world.stream.append(subject, case.input.encode(), {}, None, self.world.now.wall)


def _seen(case: Case) -> tuple[int, int, int]:
    epoch, sequence, highest = case.options.get("seen", ("0", "0", "0"))
    return int(epoch), int(sequence), int(highest)


def _range(line: str) -> KeyRange:
    start, _, end = line.partition("..")
    return KeyRange(start.encode(), end.encode())


def _report(line: str, store: int) -> RegionReport:
    """`id start..end version/conf_ver term peer@store,peer@store:role`; this store's peer leads.

    More words tell more: `removed=peer@store,...`, `pending=peer:behind,...`,
    `down=peer:seconds,...`, `lost=peer,...`, `bytes=number`.
    """
    number, keys, epoch, term, members, *more = line.split()
    version, conf_ver = map(int, epoch.split("/"))
    told = dict(word.split("=") for word in more)
    region = Region(region_id(int(number)), _range(keys), Epoch(conf_ver, version), _peers(members))
    leader = region.peer_on(StoreId(store)) or region.peers[0]
    return msgspec.structs.replace(
        region_report(region, leader, int(term)),
        removed=report_peers(_peers(told.get("removed", ""))),
        pending=tuple(PendingPeer(PeerId(a), b) for a, b in _pairs(told.get("pending", ""))),
        down=tuple(DownPeer(PeerId(a), b) for a, b in _pairs(told.get("down", ""))),
        lost=tuple(PeerId(int(peer)) for peer in re.findall(r"\d+", told.get("lost", ""))),
        bytes=int(told.get("bytes", "10")),
    )


_ROLES = {"": PeerRole.VOTER, "learner": PeerRole.LEARNER}
_ROLES |= {"incoming": PeerRole.INCOMING_VOTER, "demoting": PeerRole.DEMOTING_VOTER}


def _peers(members: str) -> tuple[Peer, ...]:
    """`peer@store,peer@store:role`."""
    found = re.findall(r"(\d+)@(\d+):?(\w*)", members)
    return tuple(Peer(PeerId(int(a)), StoreId(int(b)), _ROLES[role]) for a, b, role in found)


def _pairs(text: str) -> list[tuple[int, int]]:
    """`number:number,number:number`."""
    return [(int(one), int(other)) for one, other in re.findall(r"(\d+):(\d+)", text)]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, rewrite: bool) -> None:
    check_story(path, Teller().run, rewrite)
