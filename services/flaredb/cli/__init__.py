"""The `flaredb` command."""
