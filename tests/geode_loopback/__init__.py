"""A server that speaks Geode's wire protocol over gRPC and QUIC and runs the GQL on Grafeo.

    with Loopback() as server:
        connection = geode_client.open_database(server.quic_dsn(graph="shop")).connection()
        ...
        server.faults.add(Fault("drop_after", on="commit"))

It is not a Geode: it shows what a client makes of the protocol and of a documented dialect. For a
person: `python -m tests.geode_loopback`.
"""

from __future__ import annotations

from tests.geode_loopback.dialect import Dialect
from tests.geode_loopback.faults import Fault, Faults
from tests.geode_loopback.server import Loopback
from tests.geode_loopback.service import Statement, User

__all__ = ["Dialect", "Fault", "Faults", "Loopback", "Statement", "User"]
