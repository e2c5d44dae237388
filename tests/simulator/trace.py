"""What happened, one line each: kept for a failure's report, hashed to show that a seed repeats."""

import hashlib
from collections import Counter, deque


class Trace:
    """The lines of one run."""

    def __init__(self, keep: int = 4_000) -> None:
        self._digest = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=keep)
        self.totals: Counter[str] = Counter()

    def note(self, now: float, kind: str, text: str) -> None:
        """`kind` is counted, the line is kept and hashed."""
        self.totals[kind] += 1
        line = f"{now:9.4f} {kind:<10} {text}"
        self._digest.update(line.encode())
        self.lines.append(line)

    @property
    def digest(self) -> str:
        """The hash of all lines so far."""
        return self._digest.hexdigest()[:16]
