"""`python -m tests.conformance raft|histories DIR`: run a folder of peers' cases.

Exit code 0: all agree (or nothing says what is right); 1: some differ; 2: called wrongly.
"""

import importlib
import pathlib
import sys

SUITES = {"raft": "tests.conformance.raft_cases", "histories": "tests.conformance.histories"}
"""What can be run, and the module whose `run(folder)` does it and returns the exit code."""

USAGE = f"usage: python -m tests.conformance {'|'.join(SUITES)} DIR\n"


def main(arguments: list[str]) -> int:
    """Run one suite on one folder; the suites are imported only when asked for."""
    if len(arguments) != 2 or arguments[0] not in SUITES:
        sys.stderr.write(USAGE)
        return 2
    folder = pathlib.Path(arguments[1])
    if not folder.is_dir():
        sys.stderr.write(f"{folder} is not a folder\n")
        return 2
    exit_code: int = importlib.import_module(SUITES[arguments[0]]).run(folder)
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
