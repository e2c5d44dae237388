"""Recorded histories in both formats are read right, and the peers' sample is judged right."""

import json
import pathlib

import pytest

from tests.conformance import histories
from tests.conformance.__main__ import main
from tests.conformance.histories_format import UnknownFormat, read_history
from tests.linearizability import (
    Append,
    CompareAndSet,
    Done,
    Get,
    Got,
    Linearizable,
    NotLinearizable,
    Operation,
    Put,
    Swapped,
    check,
)

SAMPLE = pathlib.Path(__file__).parents[2] / ".." / "shared" / "conformance" / "histories"

JEPSEN = """\
INFO  jepsen.core - Running test
INFO  jepsen.util - 0\t:invoke\t:write\t3
INFO  jepsen.util - :nemesis\t:info\t:start\t"Cut off [:n1]"
INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - 2\t:invoke\t:cas\t[1 0]
INFO  jepsen.util - 1\t:ok\t:cas\t[3 4]
INFO  jepsen.util - 2\t:fail\t:cas\t[1 0]
INFO  jepsen.util - 3\t:invoke\t:write\t5
INFO  jepsen.util - 3\t:info\t:write\t:timed-out
INFO  jepsen.util - 4\t:invoke\t:read\tnil
INFO  jepsen.util - 4\t:ok\t:read\tVALUE
INFO  jepsen.util - 5\t:invoke\t:read\tnil
"""

EDN = """\
{:process 0, :type :invoke, :f :put, :key "7", :value "a b"}
{:process 1, :type :invoke, :f :append, :key "7", :value "c"}
{:process 1, :type :ok, :f :append, :key "7", :value "c"}
{:process 0, :type :ok, :f :put, :key "7", :value "a b"}
{:process 0, :type :invoke, :f :get, :key "7", :value nil}
{:process 0, :type :ok, :f :get, :key "7", :value "VALUE"}
"""


def operations(text: str) -> set[Operation]:
    """The operations of a text that is a history."""
    history = read_history(text)
    assert history is not None
    return set(history.operations)


def test_jepsen_lines_are_read() -> None:
    assert operations(JEPSEN.replace("VALUE", "5")) == {
        Operation("0", "", Put(3), Done(), 0, 3),
        Operation("1", "", CompareAndSet(3, 4), Swapped(True, 3), 2, 5),
        Operation("3", "", Put(5), None, 7, None),
        Operation("4", "", Get(), Got(5), 9, 10),
        Operation("5", "", Get(), None, 11, None),
    }


def test_edn_lines_are_read() -> None:
    assert operations(EDN.replace("VALUE", "a bc")) == {
        Operation("0", "7", Put("a b"), Done(), 0, 3),
        Operation("1", "7", Append("c"), Done(), 1, 2),
        Operation("0", "7", Get(), Got("a bc"), 4, 5),
    }


def test_other_files_are_no_histories() -> None:
    assert read_history('{"some.log": true}') is None
    assert read_history("") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{:process 9, :type :ok, :f :get, :key "7", :value ""}', "without a call"),
        ('{:process 0, :type :invoke, :f :get, :key "7", :value nil}\n' * 2, "twice at once"),
        ('{:process 0, :type :invoke, :f :pop, :key "7", :value nil}', "no such call"),
        ('{:process 0, :type :invoke, :f :put, :key "7", :value {}}', "no such value"),
    ],
)
def test_nonsense_is_refused(line: str, reason: str) -> None:
    with pytest.raises(UnknownFormat, match=reason):
        read_history(line)


@pytest.mark.parametrize("value", ["4", "5"])
def test_a_timed_out_write_may_or_may_not_be_seen(value: str) -> None:
    history = read_history(JEPSEN.replace("VALUE", value))
    assert history is not None
    assert isinstance(check(history.operations, history.model), Linearizable)


def test_a_failed_swap_did_not_happen() -> None:
    history = read_history(JEPSEN.replace("VALUE", "0"))
    assert history is not None
    assert isinstance(check(history.operations, history.model), NotLinearizable)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A good and a bad history in a folder."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_text(JEPSEN.replace("VALUE", "4"))
    (tmp_path / "two").write_text(EDN.replace("VALUE", "stale"))
    return tmp_path


def test_verdicts_are_compared(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "verdicts.json").write_text(json.dumps({"deep/one": True, "two": False}))
    assert main(["histories", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "deep/one: linearizable",
        "two: not linearizable at key 7: answer 5 cannot be explained",
        "2 agree, 0 differ, 0 undecided",
    ]


def test_a_wrong_or_missing_verdict_differs(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "verdicts.json").write_text(json.dumps({"two": True, "three": True}))
    assert main(["histories", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 agree, 2 differ, 0 undecided"


def test_verdicts_need_no_file(folder: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["histories", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].split(" at")[0] for line in lines[:-1]] == [
        " linearizable",
        " not linearizable",
    ]


def test_what_is_unreadable_fails_and_the_rest_gets_its_verdicts(
    folder: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a").write_text(EDN.replace(":f :put", ":f :push"))
    verdicts = {"deep/one": True, "two": False}
    for known, closing in (
        (None, "2 histories, 0 undecided, 1 unreadable"),
        (verdicts, "2 agree, 1 differ, 0 undecided"),
        ({**verdicts, "a": True}, "2 agree, 1 differ, 0 undecided"),
    ):
        if known is not None:
            (folder / "verdicts.json").write_text(json.dumps(known))
        assert main(["histories", str(folder)]) == 1
        first, *rest = capsys.readouterr().out.splitlines()
        assert first.startswith("a: unreadable: ")
        assert len(rest) == 3 and rest[-1] == closing


def test_a_folder_without_histories_is_no_success(tmp_path: pathlib.Path) -> None:
    assert main(["histories", str(tmp_path)]) == 1
    assert main(["histories", str(tmp_path / "absent")]) == 2
    assert main(["neither", str(tmp_path)]) == 2


def test_the_peers_sample_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    if not SAMPLE.is_dir():
        pytest.skip(f"no sample of peers' histories at {SAMPLE}")
    assert histories.run(SAMPLE) == 0, capsys.readouterr().out
