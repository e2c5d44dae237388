"""What a client called, what it was answered, and when: one value per operation.

A value is anything that can be hashed and compared (bytes, text, numbers); None means that the key
is absent.
"""

from collections.abc import Hashable

from msgspec import Struct

Value = Hashable | None


class Get(Struct, frozen=True):
    """Read the key."""


class Put(Struct, frozen=True):
    """Store `value` (None: remove), whatever the key holds."""

    value: Value


class Delete(Struct, frozen=True):
    """Remove the key; removing what is absent is fine."""


class CompareAndSet(Struct, frozen=True):
    """Store `value` (None: remove) if the key holds `expected` (None: is absent)."""

    expected: Value
    value: Value


class Append(Struct, frozen=True):
    """Lengthen the text that the key holds; an absent key holds the empty text."""

    suffix: str


Call = Get | Put | Delete | CompareAndSet | Append


class Got(Struct, frozen=True):
    """A get found `value`."""

    value: Value


class Done(Struct, frozen=True):
    """A put, a delete or an append took effect."""


class Swapped(Struct, frozen=True):
    """A compare-and-set was executed; `previous` is what the key held before it."""

    ok: bool
    previous: Value


Answer = Got | Done | Swapped


class Operation(Struct, frozen=True):
    """One call of one client.

    `invoked` and `returned` are moments in any one monotonic unit; A precedes B only if A returned
    strictly before B was invoked, so equal moments count as overlapping. An operation whose outcome
    is unknown (no answer, a timeout, an `:info` line) has neither `answer` nor `returned`: it may
    take effect at any moment from `invoked` on, or never. An operation that is known not to have
    happened (a refusal, a `:fail` line) does not belong into a history.
    """

    process: Hashable
    key: Hashable
    call: Call
    answer: Answer | None
    invoked: int
    returned: int | None

    def __post_init__(self) -> None:
        """Refuse what no client can have seen."""
        assert (self.answer is None) == (self.returned is None), f"half an answer: {self}"
        assert self.returned is None or self.invoked <= self.returned, f"time runs back: {self}"

    def forgotten(self) -> "Operation":
        """The same call, as if its answer had never arrived."""
        return Operation(self.process, self.key, self.call, None, self.invoked, None)
