"""Who may import whom: the contracts of pyproject.toml hold, and each catches what it forbids."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE_ROOTS: Final = {
    "flaredb_schemas": "schemas",
    "flaredb": "services",
    "flaredb_pd": "pd",
    "flaredb_analytics": "analytics",
}

ABOVE: Final = "Who stands above whom"
INSIDE: Final = "Inside the database"
PURE: Final = "Raft, the state machine and the schemas are pure"
BUS_ONLY: Final = "PD and analytics use the bus and the clock"
BASE_ONLY: Final = "A client needs only the base install"
ENGINES: Final = "Each engine has one place, and nothing leans on tests"

FORBIDDEN: Final = [
    (ABOVE, "flaredb_schemas", "flaredb"),
    (ABOVE, "flaredb", "flaredb_pd"),
    (ABOVE, "flaredb.playground", "flaredb_analytics"),
    (ABOVE, "flaredb_pd", "flaredb_analytics"),
    (INSIDE, "flaredb.store", "flaredb.cli"),
    (INSIDE, "flaredb.testing", "flaredb.store"),
    (INSIDE, "flaredb.playground", "flaredb.cli"),
    (INSIDE, "flaredb.client", "flaredb.playground"),
    (INSIDE, "flaredb.bus", "flaredb.client"),
    (INSIDE, "flaredb.bus", "flaredb.disk"),
    (INSIDE, "flaredb.kv", "flaredb.disk"),
    (INSIDE, "flaredb.raft", "flaredb.kv"),
    (INSIDE, "flaredb.runtime", "flaredb.raft"),
    (PURE, "flaredb_schemas", "os"),
    (PURE, "flaredb.raft", "time"),
    (PURE, "flaredb.raft", "flaredb.runtime.clock"),
    (PURE, "flaredb.kv", "random"),
    (BUS_ONLY, "flaredb_pd", "flaredb.store.service"),
    (BUS_ONLY, "flaredb_analytics", "flaredb.disk.disk"),
    (BASE_ONLY, "flaredb.client", "typer"),
    (BASE_ONLY, "flaredb.bus", "starlette"),
    (ENGINES, "flaredb.store", "nats"),
    (ENGINES, "flaredb.cli", "lmdb"),
    (ENGINES, "flaredb_pd", "duckdb"),
    (ENGINES, "flaredb.runtime", "tests"),
]


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Import-linter's verdict on the packages under `checkout`."""
    roots = os.pathsep.join(str(checkout / root) for root in SOURCE_ROOTS.values())
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": roots, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def write_empty_package(checkout: Path, name: str) -> Path:
    """Makes a package and those around it, without a word in them; returns its folder."""
    folder = checkout / SOURCE_ROOTS[name.partition(".")[0]]
    for part in name.split("."):
        folder /= part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    return folder


def write_empty_twin(checkout: Path) -> None:
    """The tree as it stands, every file empty: only what a test adds can break a contract."""
    (checkout / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for root in SOURCE_ROOTS.values():
        for path in (ROOT / root).rglob("*.py"):
            twin = checkout / path.relative_to(ROOT)
            twin.parent.mkdir(parents=True, exist_ok=True)
            twin.touch()


def test_the_contracts_hold() -> None:
    verdict = lint_imports(ROOT)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(("contract", "importer", "imported"), FORBIDDEN)
def test_a_forbidden_import_is_caught(
    tmp_path: Path, contract: str, importer: str, imported: str
) -> None:
    write_empty_twin(tmp_path)
    if imported.partition(".")[0] in SOURCE_ROOTS:
        write_empty_package(tmp_path, imported)
    intruder = write_empty_package(tmp_path, importer) / "intruder.py"
    intruder.write_text(f"import {imported}\n")

    verdict = lint_imports(tmp_path)

    assert verdict.returncode == 1
    assert f"{contract} BROKEN" in verdict.stdout, verdict.stdout + verdict.stderr
