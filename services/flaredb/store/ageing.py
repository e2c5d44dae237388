"""A data folder's generation: a saved number by which PD tells the folder from an old state of it.

It rises with what is saved, once per full report, and PD hears it in heartbeats. Who starts on a
copy that was made before claims a lower one than PD knows, and is refused: Raft is safe only as
long as a store forgets nothing that it has said.
"""

from collections.abc import Callable
from typing import Final

from flaredb.disk.disk import View
from flaredb.disk.layout import GENERATION_KEY
from flaredb.store.context import Context
from flaredb.store.records import Age, load, save
from flaredb_schemas.ids import Generation


def saved_generation(view: View) -> Generation:
    """The generation that this folder has reached. Raises `CorruptRecordError`."""
    age = load(view, GENERATION_KEY, Age)
    return age.generation if age is not None else Generation(0)


class Ageing:
    """The generation of this store's folder.

    Invariants: `generation` is durable before anybody can read it here, and never falls; it rises
    only in a start that PD has accepted, so a copy that is refused cannot catch up; only if other
    things were saved since, so an idle store writes nothing.
    """

    __slots__ = ("_context", "_looked_at", "generation")

    def __init__(self, context: Context) -> None:
        self._context: Final = context
        self._looked_at = context.saver.last_number
        self.generation = saved_generation(context.disk.view)

    def rise(self, then: Callable[[], None]) -> None:
        """Let the generation rise with the next save if something was saved since; then `then`."""
        saver = self._context.saver
        if saver.last_number == self._looked_at:
            return
        self._looked_at = saver.last_number + 1  # the batch that takes the number along
        risen = Generation(self.generation + 1)
        save(saver.batch, GENERATION_KEY, Age(risen))

        def saved() -> None:
            self.generation = risen
            then()

        saver.then(saved)
