"""The steps of a merge as stories tell them."""

from flaredb_schemas.commands import AbortMerge, CommitMerge, Merge, PrepareMerge, RollBackMerge
from flaredb_schemas.ids import Index, RegionId, Term
from tests.stories import Case


def merge_command(case: Case, time: int, version: int) -> Merge:
    """The step of a merge that a case asks for."""
    index, source = Index(int(case.option("index", "0"))), RegionId(int(case.option("source", "0")))
    if case.command == "prepare":
        target, at = RegionId(int(case.option("target"))), int(case.option("at"))
        return PrepareMerge(time, 1, version, target, 1, at, "manual", time - 5)
    if case.command == "commit":
        return CommitMerge(time, 1, version, source, index, Term(5), "manual", time - 5)
    if case.command == "abort":
        return AbortMerge(time, 1, version, source, case.option("reason", ""))
    return RollBackMerge(time, index)
