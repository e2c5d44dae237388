"""The world of the state machine's stories: one region, and a table of commands to move it."""

from collections.abc import Callable

from flaredb.kv.machine import Effects, Executed
from flaredb.kv.queries import get_many, scan_page
from flaredb.kv.sessions import Limits
from flaredb_schemas.commands import (
    Batch,
    CheckReplicas,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Difference,
    Group,
    Lane,
    LeaderStarted,
    NewRegion,
    Op,
    Put,
    Recount,
    Size,
    Split,
    Write,
)
from flaredb_schemas.events import encode_event
from flaredb_schemas.failures import (
    AnswerTooLarge,
    InvalidRequest,
    KeyNotInRegion,
)
from flaredb_schemas.ids import PeerId, RegionId, StoreId, Term
from flaredb_schemas.keys import show_key, show_range
from flaredb_schemas.requests import GetRequest, ScanAnswer, ScanRequest
from tests.kv.merging import merge_command
from tests.kv.replicas import Replicas, whole_region
from tests.kv.wording import outcome_text, refusal_text, value_text
from tests.stories import Case


class World:
    """One region; `run` carries out one command of a story and says what came of it."""

    def __init__(self) -> None:
        self._replicas = Replicas(whole_region())
        self._all = {RegionId(1): self._replicas}
        self._fills = 0
        self._commands: dict[str, Callable[[Case], str]] = {
            "region": self._region,
            "write": self._write,
            "raw": self._raw,
            "fill": self._fill,
            "ask": self._ask,
            "leader": self._leader,
            "check": self._check,
            "split": self._split,
            "recount": self._recount,
            "prepare": self._merge_step,
            "commit": self._merge_step,
            "abort": self._merge_step,
            "rollback": self._merge_step,
            "go": self._go,
            "empty": self._empty,
            "get": self._get,
            "scan": self._scan,
            "rows": self._rows,
            "lanes": self._lanes,
            "state": self._state,
        }

    def run(self, case: Case) -> str:
        return self._commands[case.command](case)

    def _region(self, case: Case) -> str:
        """A new region: `start`, `end`, `version`, and any of the limits of its sessions."""
        named = {"start", "end", "version"}
        limits = {key: int(value) for key, (value,) in case.options.items() if key not in named}
        region = whole_region(
            _bytes(case.option("start")),
            _bytes(case.option("end")),
            int(case.option("version", "1")),
        )
        self._replicas = Replicas(region, Limits(**limits))
        self._all = {region.id: self._replicas}
        return f"{show_range(region.keys)} at version {region.epoch.version}"

    def _write(self, case: Case) -> str:
        """A batch: `lane`, `sequence`, `done`, `version`, `time`; an op per line of input."""
        effects = self._replicas.write(_batch(case), self._version(case), self._time(case))
        return _described(effects, case)

    def _raw(self, case: Case) -> str:
        """A batch as the bytes (hexadecimal) of the input."""
        command = Write(self._time(case), self._version(case), bytes.fromhex(case.input))
        return _described(self._replicas.apply(command), case)

    def _fill(self, case: Case) -> str:
        """`count` keys `prefix`0000 and on with values of `size` bytes."""
        prefix, value = _bytes(case.option("prefix")), b"v" * int(case.option("size", "1"))
        keys = [prefix + b"%04d" % number for number in range(int(case.option("count")))]
        self._fills += 1
        lane = Lane(1_000 + self._fills, self._replicas.machine.state.time, 0)
        at_once = 1_000 if len(value) < 100 else 1
        for start in range(0, len(keys), at_once):
            chunk = keys[start : start + at_once]
            puts = tuple(Put(number, key, value) for number, key in enumerate(chunk))
            batch = Batch(lane, start, start, puts)
            effects = self._replicas.write(batch, self._version(case), 0)
            assert isinstance(effects.answer, Executed)
        return self._state(case)

    def _ask(self, case: Case) -> str:
        """What a leader would say to a batch before it proposes it."""
        refusal = self._replicas.machine.refusal(self._version(case), _batch(case))
        return "welcome" if refusal is None else refusal_text(refusal)

    def _leader(self, case: Case) -> str:
        """The first entry of a new leader's own: `peer`, `store`, `previous`, `term`, `time`."""
        command = LeaderStarted(
            int(case.option("time")),
            PeerId(int(case.option("peer"))),
            StoreId(int(case.option("store"))),
            PeerId(int(case.option("previous"))),
        )
        effects = self._replicas.apply(command, term=Term(int(case.option("term"))))
        return "\n".join(encode_event(event).decode() for event in effects.events)

    def _check(self, case: Case) -> str:
        """Have the replicas hashed under a `nonce`."""
        command = CheckReplicas(self._time(case), int(case.option("nonce")))
        return f"check {self._replicas.apply(command).check}"

    def _split(self, case: Case) -> str:
        """A cut: `time`, `version`, `conf_ver`, `own`; a new region per line of input.

        A line is id, start, the peers' ids joined by commas, and what was counted of it. Sizes are
        keys and bytes with a slash between.
        """
        words = [line.split() for line in case.input.splitlines()]
        children = tuple(
            NewRegion(RegionId(int(number)), _bytes(start), tuple(_peers(peers)))
            for number, start, peers, _ in words
        )
        sizes = [case.option("own", "0/0"), *(size for *_, size in words)]
        command = Split(
            self._time(case),
            int(case.option("conf_ver", "1")),
            self._version(case),
            children,
            "manual",
            self._time(case) - 5,
            tuple(map(_size, sizes)),
        )
        effects = self._replicas.apply(command)
        if effects.answer is not None:
            assert not isinstance(effects.answer, Executed)
            assert not effects.children and not effects.events, "a refusal changes nothing"
            return refusal_text(effects.answer)
        self._all |= self._replicas.children
        return "\n".join(encode_event(event).decode() for event in effects.events)

    def _recount(self, case: Case) -> str:
        """The rows were counted: `time`, `version`, and what was `missing` in the figures."""
        missing = _difference(case.option("missing"))
        effects = self._replicas.apply(Recount(self._time(case), self._version(case), missing))
        assert effects == Effects()
        return self._state(case)

    def _merge_step(self, case: Case) -> str:
        """A step of a merge: `prepare` with `target` and its version `at`; `commit` with `source`
        and the `index` at which it agreed; `abort` with `source`; `rollback` with `index`."""
        other = self._all.get(RegionId(int(case.option("source", "0"))))
        command = merge_command(case, self._time(case), self._version(case))
        effects = self._replicas.apply(command, source=other)
        if effects.answer is not None:
            assert not isinstance(effects.answer, Executed)
            assert not effects.events and not effects.lanes, "a refusal changes nothing"
            return refusal_text(effects.answer)
        if effects.absorbed:
            del self._all[effects.absorbed]
        return "\n".join(encode_event(event).decode() for event in effects.events)

    def _go(self, case: Case) -> str:
        """From here on the story is about another `region`."""
        self._replicas = self._all[RegionId(int(case.option("region")))]
        region = self._replicas.machine.region
        peers = ", ".join(f"{peer.id} on {peer.store}" for peer in region.peers)
        return f"{show_range(region.keys)} at version {region.epoch.version}: peers {peers}"

    def _empty(self, case: Case) -> str:
        """An entry without a command, of a `term`."""
        effects = self._replicas.apply(None, term=Term(int(case.option("term"))))
        assert effects == Effects()
        return self._state(case)

    def _get(self, case: Case) -> str:
        """The values of the keys that are named."""
        keys = tuple(_bytes(word) for word in case.words)
        machine = self._replicas.machine
        request = GetRequest(1, machine.region.id, machine.region.epoch.version, keys)
        answer = get_many(request, machine.region, machine.state.time, self._replicas.first.rows)
        if isinstance(answer, KeyNotInRegion | InvalidRequest | AnswerTooLarge):
            return refusal_text(answer)
        return "\n".join(map(value_text, answer.values))

    def _scan(self, case: Case) -> str:
        """A page: `start`, `end`, `limit`, and whether `reverse`."""
        machine = self._replicas.machine
        request = ScanRequest(
            1,
            machine.region.id,
            machine.region.epoch.version,
            _bytes(case.option("start")),
            _bytes(case.option("end")),
            int(case.option("limit", "1000")),
            "reverse" in case.words,
        )
        answer = scan_page(request, machine.region, machine.state.time, self._replicas.first.rows)
        if not isinstance(answer, ScanAnswer):
            return refusal_text(answer)
        rows = [f"{show_key(key)} {value_text(value)}" for key, value in answer.rows]
        if len(rows) > 8:
            rows = [rows[0], f"… {len(rows) - 2} rows …", rows[-1]]
        return "\n".join([*rows, "more" if answer.more else "the end"])

    def _rows(self, _: Case) -> str:
        """All rows, as they are."""
        rows = self._replicas.first.rows.items()
        return "\n".join(f"{show_key(key)} {value_text(value)}" for key, value in rows) or "none"

    def _lanes(self, _: Case) -> str:
        """The session table, those used longest ago first."""
        lines = []
        for state in self._replicas.machine.sessions.lanes:
            lane = state.lane
            name = f"{lane.client}@{lane.opened}#{lane.number}"
            lines.append(f"{name} seen {state.seen}, done below {state.done_below}")
            for executed in state.batches:
                others = [f"{op} {outcome_text(outcome)}" for op, outcome in executed.others]
                told = "; ".join([f"usual {executed.usual}", *others])
                lines.append(f"  {executed.sequence}: {told}")
        return "\n".join(lines) or "none"

    def _state(self, _: Case) -> str:
        state = self._replicas.machine.state
        return (
            f"index {state.index} term {state.term} time {state.time} "
            f"forgotten {state.forgotten} keys {state.keys} bytes {state.bytes}"
            f"{' estimated' if state.estimated else ''}"
        )

    def _version(self, case: Case) -> int:
        return int(case.option("version", str(self._replicas.machine.region.epoch.version)))

    def _time(self, case: Case) -> int:
        return int(case.option("time", "0"))


def _peers(word: str) -> list[PeerId]:
    return [PeerId(int(number)) for number in word.split(",")]


def _size(word: str) -> Size:
    keys, _, size = word.partition("/")
    return Size(int(keys), int(size))


def _difference(word: str) -> Difference:
    keys, _, size = word.partition("/")
    return Difference(int(keys), int(size))


def _batch(case: Case) -> Batch:
    client, _, rest = case.option("lane", "7@1").partition("@")
    opened, _, number = rest.partition("#")
    return Batch(
        Lane(int(client), int(opened), int(number or "0")),
        int(case.option("sequence", "0")),
        int(case.option("done", "0")),
        tuple(_op(line.split()) for line in case.input.splitlines()),
    )


def _op(words: list[str]) -> Op:
    match words:
        case [number, "put", key, value]:
            return Put(int(number), _bytes(key), _bytes(value))
        case [number, "delete", key]:
            return Delete(int(number), _bytes(key))
        case [number, "cas", key, expected, value]:
            return CompareAndSwap(int(number), _bytes(key), _optional(expected), _optional(value))
        case [number, "delete-range", start, end]:
            return DeleteRange(int(number), _bytes(start), _bytes(end))
        case [number, "group", *rest]:
            return Group(int(number), tuple(_writes(" ".join(rest))))
        case _:
            raise ValueError(f"no op: {words}")


def _writes(text: str) -> list[Put | Delete]:
    writes = []
    for part in filter(None, text.split(";")):
        write = _op(["0", *part.split()])
        assert isinstance(write, Put | Delete)
        writes.append(write)
    return writes


def _bytes(word: str) -> bytes:
    """`''` is empty, and `x*5` stands for five x."""
    if "*" in word:
        piece, _, times = word.partition("*")
        return piece.encode() * int(times)
    return b"" if word == "''" else word.encode()


def _optional(word: str) -> bytes | None:
    return None if word == "-" else _bytes(word)


def _described(effects: Effects, case: Case) -> str:
    answer = effects.answer
    assert answer is not None
    if not isinstance(answer, Executed):
        assert not effects.rows and not effects.lanes, "a refusal changes nothing"
        return refusal_text(answer)
    numbers = [line.split()[0] for line in case.input.splitlines()]
    lines = zip(numbers, answer.outcomes, strict=True)
    return "\n".join(f"{number} {outcome_text(outcome)}" for number, outcome in lines)
