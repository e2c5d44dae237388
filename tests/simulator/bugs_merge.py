"""Deliberate bugs in merges: what a source does meanwhile, who absorbs what, and what is united.

That a lane which one of the two may have forgotten is not taken for new is told by a story, in
`tests/kv/testdata/merged_lanes.txt`: chance hardly ever meets it.
"""

from typing import Any

from msgspec.structs import replace

from flaredb.kv import merge, sessions
from flaredb.kv.machine import Effects, Machine
from flaredb.kv.sessions import Recorded, Sessions
from flaredb.store import merge_orders, serving
from flaredb.store.merge_orders import Course, MergeOrders
from flaredb.store.records import Tombstone
from flaredb.store.replica import Replica
from flaredb.store.saving import Saver
from flaredb_schemas.commands import CommitMerge, RollBackMerge
from flaredb_schemas.ids import PeerId
from flaredb_schemas.regions import Region
from flaredb_schemas.sessions import AppliedState, Merging
from tests.simulator.bugs import Change, bug


@bug("source-serves-reads", "a region that is being merged is still read")
def source_serves_reads() -> list[Change]:
    return [(serving, "merging_refusal", lambda state: None)]


@bug("source-takes-writes", "a region that is being merged is still written to")
def source_takes_writes() -> list[Change]:
    def refusal(self: Machine, version: int, batch: Any) -> Any:
        attempt = self._examine(self.state, version, batch)
        return None if isinstance(attempt, sessions.Attempt) else attempt

    def write(self: Machine, state: AppliedState, *rest: Any) -> tuple[AppliedState, Effects]:
        after, effects = real(self, replace(state, merging=None), *rest)
        return replace(after, merging=state.merging), effects

    real = Machine._write
    return [(Machine, "refusal", refusal), (Machine, "_write", write)]


@bug("roll-back-beside-commit", "a source goes on although its target may still absorb it")
def roll_back_beside_commit() -> list[Change]:
    real = MergeOrders._go_on

    def go_on(self: MergeOrders, source: Replica, merging: Merging, course: Course) -> None:
        if self._context.now >= course.until:
            command = RollBackMerge(self._wall(), merging.index)
            self._step(source, course, command)
        else:
            real(self, source, merging, course)

    return [(MergeOrders, "_go_on", go_on)]


@bug("merge-epoch-unchecked", "a target absorbs a region although it has moved on")
def merge_epoch_unchecked() -> list[Change]:
    real = merge.epoch_refusal

    def refusal(region: Region, command: Any, state: AppliedState) -> Any:
        return None if isinstance(command, CommitMerge) else real(region, command, state)

    def absorbs(target: Region, source: Region, merging: Any, command: CommitMerge) -> Any:
        return (
            None
            if merge.pair_fault(target, source) is None
            else real_absorbs(target, source, merging, command)
        )

    real_absorbs = merge.absorb_refusal
    return [(merge, "epoch_refusal", refusal), (merge, "absorb_refusal", absorbs)]


@bug("merged-before-all-agreed", "a region is absorbed before all of its peers have agreed")
def merged_before_all_agreed() -> list[Change]:
    return [(merge_orders, "_all_have_agreed", lambda source, merging: True)]


@bug("sessions-not-united", "what an absorbed region had executed is forgotten")
def sessions_not_united() -> list[Change]:
    return [(Sessions, "unite", lambda self, other, forgotten, its_forgotten: Recorded([], 0))]


@bug("merge-saved-in-parts", "a merge is saved before what was applied with it")
def merge_saved_in_parts() -> list[Change]:
    real = Saver.buried

    def buried(self: Saver, replica: Replica, tombstone: Tombstone, peer: PeerId) -> None:
        forced = self._forced
        real(self, replica, tombstone, peer)
        self._forced = forced

    def rewritten(self: Saver, replica: Replica) -> None:
        forced = self._forced
        real_rewritten(self, replica)
        self._forced = forced

    real_rewritten = Saver.rewritten
    return [(Saver, "buried", buried), (Saver, "rewritten", rewritten)]
