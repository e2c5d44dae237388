"""FlareDB in containers, as compose.yaml starts it."""
