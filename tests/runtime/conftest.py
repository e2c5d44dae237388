"""Fixtures of the runtime's tests."""

from tests.nats_server import nats_server as nats_server  # noqa: PLC0414 (exported to tests)
