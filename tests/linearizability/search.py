"""The search for an order in which one object explains one key's history.

Depth first, after Wing and Gong (1993) and Lowe (2017): among the operations that nothing still to
be placed precedes, try one, go on from there, take it back if that leads nowhere. Operations still
to be placed are a linked list in order of invocation, out of which one is lifted and put back in
constant time. A configuration (set of placed operations, state) is explored once.

Five shortcuts keep real histories near linear; none can miss an order:

- An operation that changes nothing and fits the present state is placed at once, without choice:
  moved to the front of any order that exists, it disturbs nobody.
- Of several ready operations with the same call only the one that returned first is tried (one
  without answer last): they could trade places.
- A write that is noticed at most by ready reads, and leaves a state on which nothing can build, is
  placed together with them right before another one that overwrites. Only if something of the kind
  has to be placed at once is it a choice of its own.
- A branch from which some answer can certainly not be explained is not entered (`Outlook`).
- The operation that returned first is tried first, then whatever makes it fit. This is only order.
"""

from collections.abc import Iterator, Sequence

from tests.linearizability.columns import NEVER, Chain, Columns
from tests.linearizability.history import Operation
from tests.linearizability.models import Model, State


class OutOfSteps(Exception):
    """The budget ended before the search did."""


class Budget:
    """How many steps may still be made. One step tries one operation at one place."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self) -> None:
        """Count one step; OutOfSteps when there is none left."""
        if self.left <= 0:
            raise OutOfSteps
        self.left -= 1


def find_order(
    operations: Sequence[Operation], model: Model, budget: Budget
) -> tuple[Operation, ...] | None:
    """An order of one key's operations that explains every answer, or None if there is none.

    It holds every answered operation and some unanswered ones. OutOfSteps: it is not known.
    """
    columns = Columns(operations)
    order = _Search(columns, model, budget).run()
    return None if order is None else tuple(columns.operations[number] for number in order)


class _Search:
    """One depth-first search.

    Invariants: `_chain` holds exactly the answered operations that are not placed; `_placed` tells
    every placed operation with the state before it, in order; bit n of `_mask` is set for a placed
    answered operation n, of `_spent` for a placed unanswered one.
    """

    def __init__(self, columns: Columns, model: Model, budget: Budget) -> None:
        self._columns = columns
        self._apply = model.apply
        self._budget = budget
        self._state = model.initial
        self._chain = Chain(columns.answered)
        self._outlook = model.outlook(columns.operations)
        self._mask = 0
        self._spent = 0
        self._placed: list[tuple[int, State]] = []
        self._choice_marks: list[int] = []
        self._seen: set[tuple[int, int, int, State]] = set()

    def run(self) -> list[int] | None:
        """The numbers of the operations in an order that explains them, or None."""
        if self._outlook.hopeless(self._state):
            return None
        self._place_observers()
        branches = [self._choices()]
        while self._chain.first != self._chain.end:
            chosen = next(branches[-1], None)
            if chosen is not None:
                if self._advance(chosen):
                    branches.append(self._choices())
            elif len(branches) > 1:
                branches.pop()
                self._retreat()
            else:
                return None
        return [number for number, _ in self._placed]

    def _advance(self, number: int) -> bool:
        """Place `number` and what follows of itself; take all back if it cannot lead anywhere."""
        self._budget.spend()
        self._choice_marks.append(len(self._placed))
        if self._outlook.overwrites(number):
            self._place_self_contained(number)
        self._place(number)
        if not self._outlook.hopeless(self._state):
            self._place_observers()
            first = self._chain.first
            configuration = (first, self._mask >> first, self._spent, self._state)
            if configuration not in self._seen:
                self._seen.add(configuration)
                return True
        self._retreat()
        return False

    def _retreat(self) -> None:
        """Take back the last choice and what followed of itself."""
        mark = self._choice_marks.pop()
        while len(self._placed) > mark:
            self._take_back()

    def _place(self, number: int) -> None:
        self._placed.append((number, self._state))
        self._state = self._result(number, self._state)[0]
        self._outlook.place(number)
        if number < self._chain.end:
            self._chain.lift(number)
            self._mask |= 1 << number
        else:
            self._spent |= 1 << (number - self._chain.end)

    def _take_back(self) -> None:
        number, self._state = self._placed.pop()
        self._outlook.take_back(number)
        if number < self._chain.end:
            self._chain.put_back(number)
            self._mask ^= 1 << number
        else:
            self._spent ^= 1 << (number - self._chain.end)

    def _result(self, number: int, state: State) -> tuple[State, bool]:
        """The state after the operation, and whether its answer fits."""
        operation = self._columns.operations[number]
        after, answer = self._apply(state, operation.call)
        return after, operation.answer is None or operation.answer == answer

    def _place_observers(self) -> None:
        """Place every ready operation that changes nothing and fits the present state."""
        found = True
        while found:
            found = False
            for number in self._ready()[0]:
                if self._columns.observes[number] and self._result(number, self._state)[1]:
                    self._place(number)
                    found = True

    def _place_self_contained(self, successor: int) -> None:
        """Place every ready operation that nobody misses once `successor` has overwritten it."""
        while True:
            found = self._outlook.self_contained(self._ready()[0])
            if not set(found) - {successor}:
                return
            self._place(next(number for number in found if number != successor))
            self._place_observers()

    def _ready(self) -> tuple[list[int], int]:
        """The operations that may be placed next, and the answered one that returned first.

        An operation is ready if it was invoked before any operation still to be placed returned.
        """
        invoked, returned = self._columns.invoked, self._columns.returned
        ready, urgent, deadline = [], self._chain.end, NEVER
        number = self._chain.first
        while number != self._chain.end and invoked[number] < deadline:
            ready.append(number)
            if returned[number] < deadline:
                urgent, deadline = number, returned[number]
            number = self._chain.after[number]
        ready.extend(self._ready_unanswered(deadline))
        return ready, urgent

    def _ready_unanswered(self, deadline: int) -> Iterator[int]:
        """Unanswered operations that are not placed and were invoked before `deadline`."""
        for number in range(self._chain.end, len(self._columns.operations)):
            if self._columns.invoked[number] > deadline:
                return
            if not self._spent >> (number - self._chain.end) & 1:
                yield number

    def _choices(self) -> Iterator[int]:
        """The operations worth trying next, the most promising first."""
        ready, urgent = self._ready()
        waiting = set(self._outlook.self_contained(ready))
        best: dict[int, tuple[int, int, int]] = {}
        for number in ready:
            after, fits = self._result(number, self._state)
            helps = self._result(urgent, after)[1]
            forced = number == urgent or (self._columns.observes[urgent] and helps)
            if not fits or (number in waiting and not forced):
                continue
            if self._idle(number, after) and not self._makes_room(number, waiting):
                continue
            promise = 0 if number == urgent else 1 if helps else 2
            rank = (self._columns.returned[number], number, promise)
            same = self._columns.same[number]
            best[same] = min(rank, best.get(same, rank))
        return iter([number for _, number, _ in sorted(best.values(), key=lambda rank: rank[::-1])])

    def _makes_room(self, number: int, waiting: set[int]) -> bool:
        """Whether something would go right before `number`, and be overwritten by it."""
        return self._outlook.overwrites(number) and bool(waiting - {number})

    def _idle(self, number: int, after: State) -> bool:
        """Whether an unanswered operation would bring nothing here."""
        return number >= self._chain.end and after == self._state
