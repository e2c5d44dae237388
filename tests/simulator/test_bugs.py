"""The simulator notices: deliberate bugs that it finds within a few seeds.

All of them are hunted by `python -m tests.simulator --bugs`, which takes much longer. Some are
caught sooner by a story: `sessions-not-copied`, for one, by that of splits in `tests/kv`.
"""

from unittest.mock import patch

import pytest

from tests.simulator import hunting, run
from tests.simulator.hunting import hunt

FEW = range(1, 31)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "bug",
    [
        "applied-index-alone",
        "committed-entries-cut",
        "dedup-skipped",
        "handed-over-asleep",
        "hard-state-not-saved",
        "last-sequence-only",
        "not-hosted-permits",
        "ops-regrouped",
        "overlay-dropped-early",
        "pd-epoch-forgotten",
        "peer-id-reused",
        "region-id-reused",
        "second-bootstrap",
        "sessions-missing-from-snapshots",
        "sleeping-leader-not-replaced",
        "split-applied-twice",
        "split-record-alone",
        "vote-twice",
    ],
)
def test_a_deliberate_bug_is_found_within_a_few_seeds(bug: str) -> None:
    assert hunt(bug, FEW).seed is not None


def test_a_history_too_hard_to_judge_shows_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    too_hard = patch.object(run, "CHECK_BUDGET", 0)
    monkeypatch.setattr(hunting, "planted", lambda name: too_hard)
    assert hunt("dedup-skipped", [1]).seed is None
    with too_hard:
        assert run.run_cluster(1)[0].undecided
