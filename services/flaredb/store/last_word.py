"""What a store says when it stops as asked, and whether it may go."""

from flaredb.store.context import Context
from flaredb.store.history import History
from flaredb_schemas.events import StoreStopped


class LastWord:
    """Said once, at the end.

    What is applied after it may still be on its way to disk: it stands in the log, and a start
    applies it anew. So a store whose regions are written to need not wait for a pause.
    """

    __slots__ = ("_context", "_history", "_is_saved")

    def __init__(self, context: Context, history: History) -> None:
        self._context = context
        self._history = history
        self._is_saved = False

    def say(self, leaders_moved: int) -> None:
        """This store stops; have saved what is applied by now."""
        context = self._context
        self._history.add_own(
            StoreStopped(
                id=self._history.next_own_id(),
                at=context.clock.wall(),
                store=context.me.store,
                boot=context.me.boot,
                leaders_moved=leaders_moved,
            )
        )
        context.saver.force()
        context.saver.then(self._saved)

    @property
    def is_heard(self) -> bool:
        """Whether what was applied by then is on disk, and the event in the stream."""
        return self._is_saved and self._history.is_own_empty

    def _saved(self) -> None:
        self._is_saved = True
