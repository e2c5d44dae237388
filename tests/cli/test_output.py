"""What is printed, and how a command exits."""

import json
from typing import Any

import pytest

from flaredb.cli.output import Format, NotFoundError, Printer, exit_code, report
from flaredb.client import errors

RECORDS: list[dict[str, Any]] = [
    {"id": 1, "name": "[a]", "share": 0.5},
    {"id": 2, "name": None, "share": 1.0},
]


def test_records(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(Format.JSON).records(RECORDS)
    assert json.loads(capsys.readouterr().out) == RECORDS
    Printer(Format.JSONL).records(RECORDS)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    Printer(Format.TABLE).records(RECORDS, ("name", "share"))
    table = capsys.readouterr().out
    assert "[a]" in table and "0.5" in table and "id" not in table


def test_an_empty_list_is_still_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(Format.JSON).records([])
    assert json.loads(capsys.readouterr().out) == []
    Printer(Format.TABLE).records([])


def test_one_record(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(Format.JSON).record(RECORDS[0])
    assert json.loads(capsys.readouterr().out) == RECORDS[0]
    Printer(Format.TABLE).record(RECORDS[0])
    assert "name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.FlareDBError("x"), 1),
        (errors.InvalidArgumentError("x"), 2),
        (errors.SeveralRegionsError("x"), 2),
        (NotFoundError("x"), 3),
        (errors.ConflictError("x", actual=None), 4),
        (errors.TimeoutError("x"), 5),
        (errors.UnavailableError("x"), 5),
        (errors.BusyError("x"), 5),
        (errors.DiskFullError("x"), 5),
        (errors.ClosedError("x"), 5),
        (errors.UndeterminedError("x"), 6),
    ],
)
def test_exit_codes(error: errors.FlareDBError, code: int) -> None:
    assert exit_code(error) == code


def test_errors_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = errors.UnavailableError("nobody there", hint="start one")
    report(error, Format.TABLE)
    captured = capsys.readouterr()
    assert captured.out == "" and "nobody there" in captured.err and "start one" in captured.err
    report(error, Format.JSON)
    told = json.loads(capsys.readouterr().err)["error"]
    assert told == {"code": "unavailable", "message": "nobody there", "hint": "start one"}
