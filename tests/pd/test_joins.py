"""What a store tells of itself when it joins, and PD had better not write down."""

import pytest

from flaredb_pd.joins import MOST_TOLD_BYTES, Candidate, judge
from flaredb_pd.state import State
from flaredb_schemas.placement import JoinRefused
from tests.pd.builders import join


@pytest.mark.parametrize(
    ("length", "is_taken"), [(MOST_TOLD_BYTES // 12, True), (MOST_TOLD_BYTES // 6, False)]
)
def test_what_would_be_too_much_for_a_record_is_refused(length: int, is_taken: bool) -> None:
    """As JSON a control character is six bytes."""
    answer = judge(State(), join("a" * 32, labels={"zone": "\x01" * length}))
    assert isinstance(answer, Candidate if is_taken else JoinRefused)
