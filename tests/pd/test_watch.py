"""How long stores have been silent, while PD itself hears and while it does not."""

from msgspec.structs import replace

from flaredb_pd.instant import Instant
from flaredb_pd.watch import StoreWatch
from flaredb_schemas.ids import StoreId
from tests.pd.builders import pd_config

CONFIG = replace(pd_config(), disconnected_after=5.0, down_after=20.0)
ONE, OTHER = StoreId(1), StoreId(2)


class Listening:
    """A PD that listens to two stores; both are up."""

    def __init__(self) -> None:
        self.now = Instant(0.0, 0)
        self.watch = StoreWatch(self.now)
        self.pass_time(1, ONE, OTHER)

    def pass_time(self, seconds: int, *here: StoreId) -> None:
        """Time passes, and only these stores are heard."""
        for _ in range(seconds):
            self.stand_still(1)
            for store in here:
                self.watch.hear(store, self.now)
            self.watch.tick((ONE, OTHER), CONFIG, self.now)

    def stand_still(self, seconds: int) -> None:
        """Time passes, and PD does nothing."""
        self.now = Instant(self.now.seconds + seconds, 0)

    @property
    def told(self) -> tuple[str, float]:
        """What is known of the first store."""
        return self.watch.health(ONE), self.watch.silent(ONE, self.now)


def test_a_store_that_is_down_stays_as_silent_as_it_was_when_pd_stands_still() -> None:
    pd = Listening()
    pd.pass_time(300, OTHER)
    for _ in range(3):
        pd.stand_still(50)
        pd.watch.listen_anew(pd.now)
    assert pd.told == ("down", 300.0)
    assert pd.watch.silent(OTHER, pd.now) == 0.0
    pd.pass_time(10, OTHER)
    assert pd.told == ("down", 310.0)


def test_of_a_store_that_is_not_down_yet_silence_begins_anew() -> None:
    pd = Listening()
    pd.pass_time(19, OTHER)
    pd.stand_still(50)
    pd.watch.listen_anew(pd.now)
    assert pd.told == ("disconnected", 0.0)
    pd.pass_time(19, OTHER)
    assert pd.told == ("disconnected", 19.0)
    pd.pass_time(1, OTHER)
    assert pd.told == ("down", 20.0)


def test_while_the_bus_is_away_nobody_grows_more_silent() -> None:
    pd = Listening()
    pd.pass_time(30, OTHER)
    pd.watch.deafen(pd.now)
    pd.pass_time(100)
    assert pd.told == ("down", 30.0)
    assert pd.watch.health(OTHER) == "up"
    pd.watch.listen_anew(pd.now)
    assert pd.told == ("down", 30.0)
    pd.pass_time(4)
    assert pd.told == ("down", 34.0) and pd.watch.health(OTHER) == "up"


def test_a_store_that_is_heard_has_been_silent_for_no_time() -> None:
    pd = Listening()
    pd.pass_time(300, OTHER)
    pd.stand_still(50)
    pd.watch.listen_anew(pd.now)
    pd.stand_still(1)
    pd.watch.hear(ONE, pd.now)
    (change,) = pd.watch.tick((ONE, OTHER), CONFIG, pd.now)
    assert (change.health, change.previous, change.silent) == ("up", "down", 301.0)
    assert pd.told == ("up", 0.0)
