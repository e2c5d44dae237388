"""The runner over peers' Raft cases: it runs the sample, notices what differs, names what it lacks.

The sample lies beside the checkout where it is present; the runner itself knows no file by name.
"""

from pathlib import Path

import pytest

from tests.conformance.raft_cases import run
from tests.conformance.raft_directives import DIRECTIVES as KNOWN

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "conformance" / "raft"
STORY = """\
add-nodes 1 voters=(1) index=3
----
INFO 1 switched to configuration voters=(1)

campaign 1
----
ok

stabilize
----
> 1 handling Ready
  Ready MustSync=true:
  Lead:0 State:StateCandidate
  HardState Term:1 Vote:1 Commit:3
> 1 handling Ready
  Ready MustSync=true:
  Lead:1 State:StateLeader
  Entries:
  1/4 EntryNormal ""
> 1 handling Ready
  Ready MustSync=false:
  HardState Term:1 Vote:1 Commit:4
  CommittedEntries:
  1/4 EntryNormal ""
"""


def test_the_sample_passes(capsys: pytest.CaptureFixture[str]) -> None:
    if not SAMPLE.is_dir():
        pytest.skip("the peers' cases are not beside this checkout")
    assert run(SAMPLE) == 0, capsys.readouterr().out


def test_any_altered_line_fails_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = STORY.splitlines()
    first_output = lines.index("> 1 handling Ready")
    for number in range(first_output, len(lines)):
        altered = [*lines[:number], lines[number] + "0", *lines[number + 1 :]]
        assert _run(tmp_path, "\n".join(altered)) == 1, lines[number]
        assert "0 passed, 1 failed" in capsys.readouterr().out


def test_the_peers_log_lines_do_not_count(tmp_path: Path) -> None:
    assert _run(tmp_path, STORY) == 0
    assert _run(tmp_path, STORY.replace("INFO 1 switched", "INFO 1 turned")) == 0


@pytest.mark.parametrize(
    ("case", "name"),
    [("explode 1", "explode"), ("stabilize fuse=3", "fuse"), ("log-level loud", "loud")],
)
def test_what_is_unknown_fails_its_file_by_name(
    case: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, f"{STORY}\n{case}\n----\nok\n") == 1
    assert name in capsys.readouterr().out


DIRECTIVES = {
    "add-nodes": "voters learners index content inflight async-storage-writes prevote checkquorum "
    "read-only max-committed-size-per-ready disable-conf-change-validation step-down-on-removal",
    "campaign": "",
    "propose": "",
    "propose-conf-change": "v1 transition",
    "tick-election": "",
    "tick-heartbeat": "",
    "set-randomized-election-timeout": "timeout",
    "process-ready": "",
    "process-append-thread": "",
    "process-apply-thread": "",
    "deliver-msgs": "type drop",
    "stabilize": "log-level",
    "compact": "",
    "send-snapshot": "",
    "transfer-leadership": "from to",
    "forget-leader": "",
    "report-unreachable": "",
    "raft-log": "",
    "raft-state": "",
    "status": "",
    "log-level": "",
    "_breakpoint": "",
}


def test_every_directive_of_the_peers_is_known() -> None:
    known = {name: options for name, (options, _) in KNOWN.items()}
    assert known == {name: frozenset(options.split()) for name, options in DIRECTIVES.items()}


def test_upstream_folders_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path / "testdata", STORY)
    _write(tmp_path / "quorum" / "testdata", "vote cfg=(1) votes=(y)\n----\nVoteWon\n")
    _write(
        tmp_path / "confchange" / "testdata",
        "simple\nv1\n----\nvoters=(1)\n1: StateProbe match=0 next=1\n",
    )
    assert run(tmp_path) == 0
    assert capsys.readouterr().out == "3 passed, 0 failed\n"


def test_a_folder_without_cases_is_no_success(tmp_path: Path) -> None:
    assert run(tmp_path) == 1


def _run(folder: Path, story: str) -> int:
    _write(folder / "interaction", story)
    return run(folder)


def _write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.txt").write_text(text)
