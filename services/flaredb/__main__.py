"""`python -m flaredb` is the `flaredb` command."""

from flaredb.cli.main import main

main()
