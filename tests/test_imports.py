"""Who may import whom: the contracts of pyproject.toml hold, and each catches what it forbids."""

import os
import re
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
PD_PURE: Final = "PD's judgement is pure"
BUS_ONLY: Final = "PD and analytics use the bus and the clock"
JUDGEMENT_ONLY: Final = "Analytics uses only PD's judgement"
AT_THE_EDGE: Final = "Adapters are picked at the edge"
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
    (PD_PURE, "flaredb_pd", "time"),
    (PD_PURE, "flaredb_pd", "flaredb.runtime.logs"),
    (BUS_ONLY, "flaredb_pd", "flaredb.store"),
    (BUS_ONLY, "flaredb_analytics", "flaredb.disk"),
    (JUDGEMENT_ONLY, "flaredb_analytics", "flaredb_pd.service"),
    (AT_THE_EDGE, "flaredb.store", "flaredb.disk.lmdb_disk"),
    (AT_THE_EDGE, "flaredb_pd", "flaredb.bus.nats_bus"),
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


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a tree that does everything forbidden at once."""
    checkout = tmp_path_factory.mktemp("checkout")
    write_empty_twin(checkout)
    write_empty_package(checkout, "flaredb.undeclared")
    for number, (_, importer, imported) in enumerate(FORBIDDEN):
        if imported.partition(".")[0] in SOURCE_ROOTS:
            write_empty_package(checkout, imported)
        intruder = write_empty_package(checkout, importer) / f"intruder_{number}.py"
        intruder.write_text(f"import {imported}\n")
    return lint_imports(checkout).stdout


def complaint(complaints: str, contract: str) -> str:
    """The section on one broken contract; empty if it was kept."""
    found = re.search(rf"\n{re.escape(contract)}\n-+\n(.*?)(?:\n-{{4,}}|\Z)", complaints, re.DOTALL)
    return found[1] if found else ""


def test_the_contracts_hold() -> None:
    verdict = lint_imports(ROOT)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    "number", range(len(FORBIDDEN)), ids=lambda number: " ".join(FORBIDDEN[number])
)
def test_a_forbidden_import_is_caught(complaints: str, number: int) -> None:
    contract, importer, imported = FORBIDDEN[number]
    caught = complaint(complaints, contract)
    assert f"{importer}.intruder_{number} -> {imported} (l.1)" in caught, complaints


def test_a_package_must_enter_the_layers(complaints: str) -> None:
    assert "- flaredb.undeclared" in complaint(complaints, INSIDE), complaints
