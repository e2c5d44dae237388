"""One PD among others of the same name, epoch or both."""

from flaredb_pd.core import PdCore
from flaredb_schemas.envelope import Codec
from flaredb_schemas.ids import ClusterId, JournalSequence, PdEpoch, PdIncarnation
from flaredb_schemas.placement import Alive
from tests.pd.builders import incarnation_of, pd_config
from tests.pd.world import SUBJECTS, PdWorld

_alive: Codec[Alive] = Codec(Alive)


def leading() -> tuple[PdWorld, PdCore]:
    """A PD called `a` in epoch 1."""
    world = PdWorld()
    world.start(pd_config("a"))
    assert world.pds["a"].leading
    return world, world.pds["a"]


def say(world: PdWorld, incarnation: PdIncarnation) -> None:
    """A PD called `a` says that it leads with epoch 1."""
    at = PdEpoch(1), JournalSequence(1), ClusterId(""), JournalSequence(0)
    world.tell(SUBJECTS.pd_alive, _alive.encode(Alive("a", *at, incarnation)))


def test_a_pd_is_not_deposed_by_its_own_word() -> None:
    world, core = leading()
    say(world, incarnation_of("a"))
    assert core.leading


def test_another_incarnation_in_the_same_epoch_deposes_even_under_the_same_name() -> None:
    world, core = leading()
    say(world, incarnation_of("other"))
    assert not core.leading
    world.pass_time(2.1)
    assert core.state.pd == "a" and core.state.epoch == 2
