"""The entry of the `flaredb` command: its version, and what to install where its extra is missing.

Exit codes: 0 ok, 1 error, 2 wrong usage, 3 not found, 4 conflict, 5 unavailable or out of time,
6 undetermined, 130 interrupted.
"""

import sys
from importlib.metadata import version
from importlib.util import find_spec

from flaredb.cli.interruptions import INTERRUPTED

NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command; never returns."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"flaredb {version('flaredb')}\n")
        sys.exit(0)
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write("flaredb: the command line needs: pip install 'flaredb[cli]'\n")
        sys.exit(1)
    try:
        from flaredb.cli.app import run

        code = run()
    except KeyboardInterrupt:  # while it is being loaded; later it is told apart where it comes
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
