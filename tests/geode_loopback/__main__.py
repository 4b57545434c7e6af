"""For a person: run the server until Ctrl-C and say how to reach it."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.geode_loopback.server import USERS, Loopback
from tests.geode_loopback.service import User


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.geode_loopback", description=__doc__)
    parser.add_argument("--grpc", type=int, default=50051, help="port of gRPC, 0 for any")
    parser.add_argument("--quic", type=int, default=3141, help="port of QUIC, 0 for any")
    parser.add_argument("--plaintext", type=int, default=0, help="port of gRPC without TLS")
    parser.add_argument("--user", default="geode")
    parser.add_argument("--password", default="secret")
    parser.add_argument("--graph", default="", help="graph named in the DSNs that are printed")
    parser.add_argument("--graph-file", type=Path, help="keep the default graph in this file")
    parser.add_argument("--directory", type=Path, help="where to write the certificates")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds a statement")
    parser.add_argument("--sink", action="store_true", help="answer at once, execute nothing")
    given = parser.parse_args(arguments)
    server = Loopback(
        users=USERS | {given.user: User(given.password)},
        graph_file=given.graph_file,
        directory=given.directory,
        delay=given.delay,
        sink=given.sink,
        grpc_port=given.grpc,
        quic_port=given.quic,
        plain_port=given.plaintext,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with server:
        login = {"user": given.user, "graph": given.graph}
        print(f"gRPC       {server.grpc_dsn(**login)}")
        print(f"plaintext  {server.grpc_dsn(**login, tls=False)}")
        print(f"QUIC       {server.quic_dsn(**login)}")
        print(f"CA         {server.ca}")
        print("Server ready. Ctrl-C ends it.", flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
