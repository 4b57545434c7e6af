"""`python -m benchmarks geode [rounds]`: how fast rows become requests to Geode, and arrive.

A row has 8 values: an integer, two short texts, a float, a decimal, a boolean, a timestamp as text
and an integer that may be null; a batch has 1,000 rows. Both ways begin with rows as tuples, as a
source gives them, and end with the same bytes.

* encoding alone: the driver's own, and ours.
* sending to a sink: a server in a process of its own that reads each request, executes nothing and
  answers. The clients are processes too, each kept on one core. With few cores the sink and the
  clients share them, so the rows for each second of a client's own CPU time are shown too: they
  say what one core does when the server is on another machine.

All ways of a round run one after the other; of the rounds the median is shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any

from geode_client import open_database
from geode_client.client import Connection
from geode_client.proto import ExecuteRequest, ExecutionResponse
from geode_client.proto.geode_pb2 import Param

from geode_tui.target.geode_wire import requests

ROWS = 1_000
ROUNDS = 5
SECONDS = 0.7
STATEMENT = "UNWIND $rows AS row MERGE (n:Item {id: row.id}) SET n.name = row.name"
NAMES = ("id", "code", "name", "weight", "price", "active", "at", "parent")
DRIVER, OURS, RAW = "driver's encoding", "our encoding", "our encoding, raw bytes"
TRANSPORTS = {"grpc": (DRIVER, OURS, RAW), "quic": (DRIVER, OURS)}

Row = tuple[Any, ...]
Send = Callable[[Sequence[Row]], Awaitable[None]]


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    rounds = int(arguments[0]) if arguments else ROUNDS
    encoding(rounds)
    sending(rounds)
    return 0


def batch(first: int) -> list[Row]:
    """Rows that differ from those of other batches, as a table's do."""
    return [_row(number) for number in range(first, first + ROWS)]


def _row(n: int) -> Row:
    return (
        n,
        f"C{n % 997:04}",
        f"name of item {n}",
        n * 1.37 + 0.1,
        Decimal(n * 37 % 1_000_000).scaleb(-2),
        n % 3 == 0,
        f"2026-01-02T03:04:{n % 60:02}.{n % 1_000_000:06}+00:00",
        None if n % 4 == 0 else n // 7,
    )


# --- encoding -------------------------------------------------------------------------------


def encoding(rounds: int) -> None:
    """Print how fast rows become the bytes of a request."""
    rows = batch(100_000)
    raw = driver_encoding(rows)
    assert our_encoding(rows) == raw, "the bytes differ from the driver's"
    ways: dict[str, Callable[[], object]] = {
        DRIVER: lambda: driver_encoding(rows),
        OURS: lambda: our_encoding(rows),
        "and as a message again": lambda: ExecuteRequest.FromString(
            our_encoding(rows)
        ).SerializeToString(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(rounds, 3) * 5):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begin)
    rates = {name: ROWS / statistics.median(taken) for name, taken in seconds.items()}
    print(f"encoding {ROWS:,} rows of {len(NAMES)} values, {len(raw):,} B")
    for name, rate in rates.items():
        print(f"  {name:24} {rate:12,.0f} rows/s {rate / rates[DRIVER]:6.1f} times the driver's")


def driver_encoding(rows: Sequence[Row]) -> bytes:
    """As `Connection.query` makes a request, up to its bytes."""
    parameter = [dict(zip(NAMES, row, strict=True)) for row in rows]
    value = _DRIVER._python_to_proto_value(parameter)
    request = ExecuteRequest(
        session_id="session", query=STATEMENT, params=[Param(name="rows", value=value)]
    )
    return bytes(request.SerializeToString())


def our_encoding(rows: Sequence[Row], session_id: str = "session") -> bytes:
    """The same bytes, made column by column."""
    columns = list(zip(*rows, strict=True))
    ((_, _, raw),) = requests(session_id, STATEMENT, NAMES, columns)
    return raw


_DRIVER = Connection()


# --- sending --------------------------------------------------------------------------------


def sending(rounds: int) -> None:
    """Print how fast rows arrive at a sink, over both transports, from one and two processes."""
    cases = [(t, way, n) for t, ways in TRANSPORTS.items() for way in ways for n in (1, 2)]
    wall: dict[tuple[str, str, int], list[float]] = {case: [] for case in cases}
    cpu: dict[tuple[str, str, int], list[float]] = {case: [] for case in cases}
    with ExitStack() as stack:
        addresses = stack.enter_context(_sink())
        clients = [stack.enter_context(_client(addresses, core)) for core in (0, 1)]
        for _ in range(rounds):
            for case in cases:
                transport, way, processes = case
                done = _measure(clients[:processes], transport, way)
                wall[case].append(sum(each["rows"] / each["seconds"] for each in done))
                cpu[case].append(sum(e["rows"] for e in done) / sum(e["cpu"] for e in done))
    print(f"sending batches of {ROWS:,} rows to a sink; {os.cpu_count()} cores for all")
    for case in cases:
        transport, way, processes = case
        base = (transport, DRIVER, processes)
        rate, own = statistics.median(wall[case]), statistics.median(cpu[case])
        print(
            f"  {transport} {processes} {'process  ' if processes == 1 else 'processes'} {way:24}"
            f"{rate:10,.0f} rows/s ({rate / statistics.median(wall[base]):4.1f} times)"
            f"{own:10,.0f} rows a CPU second ({own / statistics.median(cpu[base]):4.1f} times)"
        )


@contextmanager
def _sink() -> Iterator[tuple[str, str]]:
    """A server that executes nothing, in a process of its own: its gRPC and QUIC addresses."""
    with tempfile.TemporaryDirectory(prefix="geode-bench-") as folder:
        command = [sys.executable, "-m", "tests.geode_loopback", "--sink"]
        command += ["--grpc", "0", "--quic", "0", "--directory", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                yield _addresses(server)
            finally:
                server.terminate()


def _addresses(server: subprocess.Popen[str]) -> tuple[str, str]:
    found: dict[str, str] = {}
    for line in server.stdout or ():
        name, _, rest = line.partition(" ")
        found[name] = rest.strip()
        if line.startswith("Server ready"):
            return found["gRPC"], found["QUIC"]
    raise SystemExit("the sink did not start")


@contextmanager
def _client(addresses: tuple[str, str], core: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.geode", str(core), *addresses]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as client:
        assert client.stdin
        assert client.stdout
        try:
            client.stdout.readline()  # it is connected
            yield client
        finally:
            client.stdin.close()


def _measure(
    clients: Sequence[subprocess.Popen[str]], transport: str, way: str
) -> list[dict[str, float]]:
    for client in clients:
        assert client.stdin
        client.stdin.write(json.dumps([transport, way]) + "\n")
        client.stdin.flush()
    return [json.loads(client.stdout.readline()) for client in clients if client.stdout]


# --- a client's process ---------------------------------------------------------------------


async def client(core: int, grpc_address: str, quic_address: str) -> None:
    """Send for a while in the way that each line of the input asks for, and say what was done."""
    if hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {own[core % len(own)]})
    batches = [batch(100_000 + ROWS * number) for number in range(20)]
    async with (
        open_database(grpc_address).connection() as grpc_connection,
        open_database(quic_address).connection() as quic_connection,
    ):
        connections = {"grpc": grpc_connection, "quic": quic_connection}
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            transport, way = json.loads(line)
            done = await _send_for(SECONDS, _sender(connections[transport], way), batches)
            print(json.dumps(done), flush=True)


async def _send_for(seconds: float, send: Send, batches: Sequence[Sequence[Row]]) -> Any:
    await send(batches[0])
    sent, cpu, begin = 0, time.process_time(), time.perf_counter()
    while (taken := time.perf_counter() - begin) < seconds:
        await send(batches[sent % len(batches)])
        sent += 1
    return {"rows": sent * ROWS, "seconds": taken, "cpu": time.process_time() - cpu}


def _sender(connection: Connection, way: str) -> Send:
    transport: Any = connection._transport

    async def by_driver(rows: Sequence[Row]) -> None:
        parameter = [dict(zip(NAMES, row, strict=True)) for row in rows]
        await connection.execute(STATEMENT, {"rows": parameter})

    async def by_us(rows: Sequence[Row]) -> None:
        request = ExecuteRequest.FromString(our_encoding(rows, transport.session_id))
        answer = await transport.execute(request)
        while not _is_last(answer.execute):
            answer = await transport.read_next()

    async def raw(rows: Sequence[Row]) -> None:
        async for answer in execute(our_encoding(rows, transport.session_id)):
            if _is_last(answer):
                return

    if way == RAW:
        execute = transport._channel.unary_stream(
            "/geode.GeodeService/Execute", response_deserializer=ExecutionResponse.FromString
        )
    return {DRIVER: by_driver, OURS: by_us, RAW: raw}[way]


def _is_last(answer: Any) -> bool:
    if answer.HasField("error"):
        raise SystemExit(f"the sink refused a request: {answer.error.message}")
    return bool(answer.HasField("page") and answer.page.final)


if __name__ == "__main__":
    asyncio.run(client(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
