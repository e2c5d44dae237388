"""How long to wait, by cause."""

import pytest

from flaredb.client.errors import BusyError, TimeoutError, UnavailableError
from flaredb.client.retry import Backoff, Cause, Trouble, surely_failed


@pytest.mark.parametrize("cause", list(Cause))
def test_waits_double_up_to_the_longest_one(cause: Cause) -> None:
    first, longest = cause.value
    shortest, most = Backoff(), Backoff()
    low = [shortest.wait(cause, lambda n: 0) * 1_000 for _ in range(20)]
    high = [most.wait(cause, lambda n: n - 1) * 1_000 for _ in range(20)]
    assert low[0] == first / 2 and high[0] == first
    assert low[1] == first and high[1] == min(2 * first, longest)
    assert low[-1] == longest / 2 and high[-1] == longest
    assert low == sorted(low) and high == sorted(high)


def test_causes_are_counted_apart() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.wait(Cause.STORE, lambda n: 0)
    assert backoff.wait(Cause.ROUTE, lambda n: 0) == 0.001
    assert backoff.tries(Cause.STORE) == 5 and backoff.tries(Cause.BUSY) == 0


def test_errors_name_what_stood_in_the_way() -> None:
    assert isinstance(surely_failed(None, waiting_for_answer=True), TimeoutError)
    busy = surely_failed(Trouble(Cause.BUSY, "too much", 7), waiting_for_answer=False)
    assert isinstance(busy, BusyError) and busy.region_id == 7 and "too much" in str(busy)
    for cause in (Cause.ROUTE, Cause.STORE, Cause.PLACEMENT, Cause.BUS):
        error = surely_failed(Trouble(cause, "gone"), waiting_for_answer=False)
        assert isinstance(error, UnavailableError) and error.retryable and error.hint
