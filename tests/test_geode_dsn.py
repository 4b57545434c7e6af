"""The address of a Geode server: read strictly, told without its password, wherever it goes."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Input

from geode_tui.app import GeodeApp
from geode_tui.catalog import TableName
from geode_tui.commands import arguments as command_arguments
from geode_tui.errors import ConnectError, GeodeTuiError, UsageError, redact
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping, NodeRule
from geode_tui.migration.child import run_in_child
from geode_tui.migration.journal import Journal, NewRun
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.profiles import Profile, load_profiles, save_profile
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.worker import ProcessWorker
from geode_tui.migration.workspace import Workspace
from geode_tui.paths import profiles_file
from geode_tui.target import TargetPlan, credentials, target_exists
from geode_tui.target.geode_dsn import (
    Address,
    graph_identity,
    is_geode,
    parse_address,
    risk,
    target_name,
)
from tests.command_line import CommandLine
from tests.geode_loopback.certificates import Certificates, make_certificates
from tests.geode_loopback.server import Loopback
from tests.migrate import read_catalog
from tests.terminal import NARROW, screen_text, settle

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No password is known at first, and none stays."""
    monkeypatch.delenv(credentials.VARIABLE, raising=False)
    monkeypatch.setattr(credentials, "_known", {})


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of a server and of a client."""
    return make_certificates(tmp_path_factory.mktemp("pem"), ("localhost",))


def _address(dsn: str, graph: str | None = None) -> Address:
    return parse_address(dsn, graph)[0]


# -- what a DSN says -------------------------------------------------------------------------------


def test_a_short_dsn_takes_the_standard_ports_and_verifies() -> None:
    assert _address("quic://db.example") == Address("quic", "db.example", 3141)
    assert _address("GRPC://DB.example/") == Address("grpc", "db.example", 50051)
    found = _address("grpc://db.example")
    assert (found.tls, found.verify) == (True, True)
    assert (found.request_seconds, found.connect_seconds) == (30, 10)


def test_user_password_and_graph_may_be_percent_encoded() -> None:
    address, password = parse_address("quic://an%40n:p%2F%3F%23%40%3A%25w@h:7/g%2Fr%C3%A4f")
    assert (address.user, password, address.graph) == ("an@n", "p/?#@:%w", "g/räf")
    assert (address.host, address.port) == ("h", 7)


@pytest.mark.parametrize(
    "query",
    ["user=u&password=p%26%3D", "username=u&pass=p%26%3D"],
)
def test_user_and_password_may_be_parameters(query: str) -> None:
    address, password = parse_address(f"grpc://h/g?{query}")
    assert (address.user, password) == ("u", "p&=")


def test_no_password_is_none_and_not_an_empty_one() -> None:
    assert parse_address("quic://u@h")[1] is None
    assert parse_address("quic://u:@h")[1] is None


def test_ipv6_hosts_stand_in_brackets() -> None:
    found = _address("quic://u@[0:0::1]/g")
    assert (found.host, found.port) == ("::1", 3141)
    assert found.place == "quic://u@[::1]:3141/g"
    assert _address("quic://[fe80::1]:9").port == 9


def test_localhost_stays_what_its_certificate_names() -> None:
    assert _address("quic://localhost").host == "localhost"


def test_the_drivers_names_of_parameters_are_taken(pem: Certificates) -> None:
    ca, cert, key = pem.ca, pem.client, pem.client_key
    one = _address(f"quic://h/g?ca={ca}&cert={cert}&key={key}&server_name=s&tenant=t&role=r")
    other = f"quic://h?ca_cert={ca}&client_cert={cert}&client_key={key}&server_name=s"
    assert _address(f"{other}&tenant_id=t&role=r&graph=g") == one
    assert (one.ca, one.client_certificate, one.client_key) == (str(ca), str(cert), str(key))
    for name in ("insecure", "skip_verify", "insecure_tls_skip_verify"):
        assert not _address(f"quic://h?{name}=true").verify
        assert _address(f"quic://h?{name}=0").verify


def test_the_deadlines_can_be_set() -> None:
    found = _address("quic://h?read_timeout=5&connect_timeout=2.5&idle_timeout=90")
    assert (found.request_seconds, found.connect_seconds, found.idle_seconds) == (5, 2.5, 90)
    assert _address("quic://h?timeout=4").connect_seconds == 4


def test_the_graph_may_come_from_the_path_a_parameter_or_the_option() -> None:
    assert _address("quic://h/g") == _address("quic://h?graph=g") == _address("quic://h", "g")
    assert _address("quic://h/g?graph=g", "g").graph == "g"


def test_files_of_certificates_are_found_from_any_folder(
    pem: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume may start in another folder."""
    monkeypatch.chdir(Path(pem.ca).parent)
    assert _address(f"quic://h?ca={Path(pem.ca).name}").ca == str(pem.ca)


# -- what is wrong with a DSN ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("localhost:3141", "no scheme"),
        ("127.0.0.1:3141/g", "no scheme"),
        ("http://h", "scheme http"),
        ("quic://", "without a host"),
        ("quic:///g", "without a host"),
        ("quic://u@:3141", "without a host"),
        ("quic://a_b!c", "no host name"),
        ("quic://::1", "several colons"),
        ("quic://[::1", "cut off"),
        ("quic://[::1]x", "cut off"),
        ("quic://[zz]", "no IPv6"),
        ("quic://h:0", "wrong port"),
        ("quic://h:", "wrong port"),
        ("quic://h:65536", "wrong port"),
        ("quic://h:+1", "wrong port"),
        ("quic://h:１", "wrong port"),
        ("quic://h/a/b", "more than a graph"),
        ("quic://h/%zz", "percent-encoded"),
        ("quic://h/%ff", "percent-encoded"),
        ("quic://h/a%0Ab", "control character"),
        ("quic://h?tls=0", "no plaintext"),
        ("grpc://h?tls=maybe", "neither 1 nor 0"),
        ("quic://h?tenant=a&tenant_id=b", "twice"),
        ("quic://u@h?user=u", "twice"),
        ("quic://u:p@h?pass=p", "twice"),
        ("quic://h?page_size=9", "program's to set"),
        ("quic://h?connect_timeout=0", "no number of seconds"),
        ("quic://h?read_timeout=nan", "no number of seconds"),
        ("quic://h?idle_timeout=1e9", "no number of seconds"),
        ("quic://h?tenant", "no value"),
        ("quic://h/g#x", "out of place"),
        ("quic://h?ca=/nowhere/ca.pem", "/nowhere/ca.pem cannot be read"),
        ("quic://h?ca=%00", "cannot be read"),
        ("quic://h?ca=/", "cannot be read"),
    ],
)
def test_each_mistake_is_named(dsn: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_address(dsn)


def test_an_unknown_parameter_is_named_with_the_nearest_known() -> None:
    with pytest.raises(UsageError) as told:
        parse_address("quic://h?conect_timeout=3")
    assert "conect_timeout" in told.value.what
    assert told.value.next_step == "did you mean connect_timeout?"


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path, pem: Certificates) -> None:
    text = tmp_path / "ca.txt"
    text.write_text("not a certificate")
    begun = tmp_path / "begun.pem"
    begun.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    for file in (text, begun, pem.client_key):
        with pytest.raises(UsageError, match="no PEM"):
            parse_address(f"quic://h?ca={file}")


def test_a_client_certificate_needs_its_key(pem: Certificates) -> None:
    with pytest.raises(UsageError, match="without its key"):
        parse_address(f"quic://h?cert={pem.client}")
    with pytest.raises(UsageError, match="without its certificate"):
        parse_address(f"quic://h?key={pem.client_key}")


def test_plaintext_takes_no_certificate(pem: Certificates) -> None:
    """Whoever names one expects it to be looked at."""
    with pytest.raises(UsageError, match="plaintext"):
        parse_address(f"grpc://h?tls=0&ca={pem.ca}")


@pytest.mark.parametrize("dsn", ["quic://h/one?graph=two", "quic://h/one"])
def test_two_graphs_are_one_too_many(dsn: str) -> None:
    with pytest.raises(UsageError, match="names one graph"):
        parse_address(dsn, "two")


SPOILT = (
    f"quic://u:{SECRET}/x@h/g",
    f"quic://u:x/{SECRET}@h/g",
    f"quic://u:x?{SECRET}@h",
    f"quic://u:1?{SECRET}=1@h",
    f"quic://u:x#{SECRET}@h",
    f"quic://u:x@{SECRET}@h",
    f"quic://u:x:{SECRET}@h",
    f"quic://u:x {SECRET}@h",
    f"quic://u:%zz{SECRET}@h",
    f"quic://h:{SECRET}",
    f"quic://u@h?password=x&{SECRET}",
    f"quic://u@h?password=x&{SECRET}=1",
    f"quic://u@h?password=%zz{SECRET}",
    f"quic://u@h?pasword={SECRET}",
    f"quic://:{SECRET}@h",
    f"quic://h?password={SECRET}",
    f"quic://u:{SECRET}@h:99999",
    f"quic://u:{SECRET}@h?ca=/nowhere",
    f"quic://u:{SECRET}@h/a?graph=b",
    f"ftp://u:{SECRET}@h",
    f"u:{SECRET}@h",
)


@pytest.mark.parametrize("dsn", SPOILT)
def test_no_error_ever_holds_the_password(dsn: str) -> None:
    """Also where a sign in it was not encoded and the DSN falls apart in the wrong place."""
    with pytest.raises(UsageError) as told:
        parse_address(dsn)
    assert SECRET not in str(told.value)
    assert SECRET not in repr(told.value)


@given(st.text(alphabet="quicgrp:/?#@&=%[]0aä \n", max_size=30), st.sampled_from(["", "quic://"]))
def test_any_text_is_an_address_or_one_clear_error(text: str, scheme: str) -> None:
    with contextlib.suppress(UsageError):
        address, _ = parse_address(scheme + text)
        assert _address(address.place) == address


# -- the place -------------------------------------------------------------------------------------

WORDS = st.text(
    st.characters(min_codepoint=33, exclude_categories=("C", "Z")), min_size=1, max_size=12
)


@given(WORDS, WORDS, st.booleans(), st.integers(1, 65535))
def test_a_place_leads_to_the_same_address_and_holds_no_password(
    user: str, graph: str, verify: bool, port: int
) -> None:
    made = Address("grpc", "h.example", port, graph, user, verify=verify, tenant="t&=", role="r")
    assert parse_address(made.place) == (made, None)


def test_one_graph_has_one_place_however_it_is_written() -> None:
    places = {
        _address(dsn).place
        for dsn in (
            "quic://u:one@H.example/g",
            "QUIC://u@h.example:3141/g?pass=two",
            "quic://h.example?user=u&graph=g&tls=1&read_timeout=30&insecure=0",
        )
    }
    assert places == {"quic://u@h.example:3141/g"}


def test_options_are_kept_in_the_place_for_a_resume(pem: Certificates) -> None:
    place = _address(f"quic://u@h/g?insecure=yes&ca={pem.ca}&read_timeout=5").place
    assert place == f"quic://u@h:3141/g?ca={pem.ca}&insecure=1&read_timeout=5"


def test_a_graph_is_the_same_whoever_connects_and_however() -> None:
    one = _address("quic://ann@h/g?insecure=1").place
    assert graph_identity(one) == graph_identity(_address("quic://bob:x@h/g").place)
    assert graph_identity(one) != graph_identity(_address("quic://ann@h/other").place)
    assert graph_identity(one) != graph_identity(_address("quic://ann@h/g?tenant=t").place)
    assert graph_identity("shop.grafeo") == "shop.grafeo"


def test_geode_places_are_told_from_files() -> None:
    assert is_geode("quic://h")
    assert is_geode("GRPC://h")
    assert not is_geode("shop.grafeo")
    assert not is_geode("postgresql://h/quic")
    assert target_exists("quic://h:1/g")


def test_a_status_line_names_server_and_graph() -> None:
    assert target_name(_address("quic://an%40n@[::1]/g%2F1").place) == "an@n@[::1]/g/1"
    assert target_name("quic://u@h:3142/g?insecure=1") == "u@h:3142/g"
    assert _address("grpc://h/g").short == "h/g"
    assert target_name("/tmp/shop.grafeo", "g") == "shop.grafeo#g"


def test_what_is_not_safe_is_said_in_a_word_and_in_a_sentence() -> None:
    plain, unverified = _address("grpc://h/g?tls=0"), _address("quic://h/g?insecure=1")
    assert (risk(plain.place), risk(unverified.place)) == ("plaintext", "unverified")
    assert "not encrypted" in plain.warning
    assert "not verified" in unverified.warning
    assert (risk("quic://h:3141/insecure=1"), _address("quic://h").warning) == ("", "")


# -- passwords -------------------------------------------------------------------------------------


def test_a_password_opens_all_graphs_of_its_login_and_no_other() -> None:
    credentials.remember(_address("quic://u@h/g").place, SECRET)
    assert credentials.password_of(_address("quic://u@h/other?insecure=1").place) == SECRET
    for dsn in (
        "quic://v@h/g",
        "quic://u@i/g",
        "quic://u@h:9/g",
        "grpc://u@h/g",
        "quic://u@h?tenant=t",
    ):
        assert credentials.password_of(_address(dsn).place) is None


def test_the_environment_has_what_nobody_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    place = _address("quic://u@h/g").place
    monkeypatch.setenv(credentials.VARIABLE, "from outside")
    assert credentials.password_of(place) == "from outside"
    credentials.remember(place, SECRET)
    assert credentials.password_of(place) == SECRET


def test_no_text_of_what_is_handed_on_shows_a_password() -> None:
    credentials.remember(_address("quic://u@h/g").place, SECRET)
    known = credentials.known()
    outfit = ProcessWorker(None, (), TargetPlan("x"), "u")._outfit  # type: ignore[arg-type]
    for shown in (repr(known), str(known), f"{known}", repr(outfit)):
        assert SECRET not in shown
    assert dict(pickle.loads(pickle.dumps(known))) == dict(known)
    assert pickle.loads(pickle.dumps(outfit)).passwords == known


def known_here(place: str, tell: Callable[[str], None]) -> str | None:
    """What a child knows, told aloud and by its result."""
    tell("asked")
    return credentials.password_of(place)


def test_a_child_learns_the_passwords_of_its_parent() -> None:
    place = _address("quic://u@h/g").place
    credentials.remember(place, SECRET)
    assert run_in_child(known_here, place, tell=lambda text: None) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        f"quic://u:{SECRET}@h:3141/g",
        f"grpc://u:{SECRET}%40x@h",
        f"grpc://h:50051/g?user=u&password={SECRET}&tls=0",
        f"quic://h:3141/g?pass=a@{SECRET}",
        f"quic://u@h/g?pass={SECRET}",
        f"QUIC://:{SECRET}@h",
        f"cannot reach quic://u:a@{SECRET}@h",
    ],
)
def test_passwords_in_texts_are_masked(text: str) -> None:
    assert SECRET not in redact(text)
    assert "***" in redact(text)


def test_what_is_no_password_stays_in_a_text() -> None:
    text = "quic://u@h:3141/g?user=u&ca=/etc/ca.pem"
    assert redact(text) == text


# -- where targets are named -----------------------------------------------------------------------


def _new_run(target: str) -> NewRun:
    return NewRun("", "s", target, "", (), "", Mapping(), 1, None)


def test_the_journal_finds_a_run_of_the_same_graph_by_other_options(tmp_path: Path) -> None:
    """Another user, or another deadline, is no other graph."""
    with contextlib.closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        record = journal.begin(_new_run("quic://u@h:3141/g?insecure=1"))
        found = journal.newest("quic://v@h:3141/g", "")
        assert found is not None
        assert found.number == record.number
        assert journal.newest("quic://u@h:3141/other", "") is None
        assert journal.target_lock("quic://v@h:3141/g", "") == journal.target_lock(
            record.target, ""
        )
        assert journal.target_lock("quic://u@h:3141/other", "") != journal.target_lock(
            record.target, ""
        )


def test_a_profile_never_keeps_the_password_of_its_target() -> None:
    save_profile(Profile("shop", "postgresql://h/d", f"quic://u:{SECRET}@h/g?tls=1"))
    assert SECRET not in profiles_file().read_text()
    assert load_profiles()[0].target == "quic://u@h:3141/g"


def test_a_profile_with_a_wrong_target_is_not_saved() -> None:
    with pytest.raises(UsageError, match="wrong port"):
        save_profile(Profile("shop", "", f"quic://u:{SECRET}@h:x/g"))
    assert not profiles_file().exists()


# -- on the command line ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    """A loopback server of Geode's wire."""
    with Loopback() as running:
        yield running


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    """A command line in an empty folder."""
    return CommandLine(tmp_path)


@pytest.mark.parametrize("transport", ["quic", "grpc"])
def test_info_says_what_a_server_is(server: Loopback, line: CommandLine, transport: str) -> None:
    done = line.run_here("info", "--target", server.dsn(transport, graph="info"), "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["kind"], found["graph"], found["nodes"]) == ("Geode", "info", 0)
    assert found["transport"] == f"{transport}, TLS, verified"
    assert parse_address(found["place"])[1] is None
    assert done.err == ""


def test_info_of_a_file_says_what_it_holds(line: CommandLine) -> None:
    place = str(line.folder / "x.grafeo")
    TargetPlan(place).open().close()
    found = line.run_here("info", "--target", place, "--json").json
    assert (found["kind"], found["nodes"]) == ("Grafeo", 0)


def test_plaintext_is_said_aloud(server: Loopback, line: CommandLine) -> None:
    """One line on stderr; data on stdout stays data."""
    done = line.run_here("info", "--target", server.grpc_dsn(tls=False, graph="g"))
    assert done.code == 0, done.err
    assert len(done.err.splitlines()) == 1
    assert "not encrypted" in done.err
    assert "not encrypted" not in done.out


def test_the_password_may_come_from_the_environment(
    server: Loopback, line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, password = parse_address(server.grpc_dsn())
    assert password
    refused = line.run_here("info", "--target", address.place)
    assert refused.code == 3
    monkeypatch.setenv(credentials.VARIABLE, password)
    assert line.run_here("info", "--target", address.place).code == 0


def test_a_person_at_a_terminal_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return SECRET

    monkeypatch.setattr("getpass.getpass", ask)
    monkeypatch.setattr(sys, "stdin", _Terminal())
    for _ in range(2):
        assert command_arguments.log_in("quic://u@h/g") == "quic://u@h:3141/g"
    assert asked == ["password of u@h/g: "]
    assert credentials.password_of("quic://u@h:3141/g") == SECRET
    command_arguments.log_in("quic://h/g")
    assert len(asked) == 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", pytest.fail)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    command_arguments.log_in("quic://u@h/g")
    assert credentials.password_of("quic://u@h:3141/g") is None


def test_a_wrong_dsn_is_wrong_use(line: CommandLine) -> None:
    done = line.run_here("query", "--target", f"quic://u:{SECRET}/x@h/g", "RETURN 1")
    assert done.code == 2
    assert SECRET not in done.err
    twice = line.run_here("query", "--target", "quic://h/g", "--graph", "other", "RETURN 1")
    assert twice.code == 2
    assert "names one graph" in twice.err


def test_assess_tells_what_geode_makes_of_names(line: CommandLine) -> None:
    """Without connecting to it."""
    (line.folder / "s.sql").write_text('CREATE TABLE "order" (id int PRIMARY KEY, "end" int);')
    made = line.run_here("map", "--source", "s.sql", "--output", "m.yaml")
    assert made.code == 0, made.err
    plain = line.run_here("assess", "--source", "s.sql", "--mapping", "m.yaml", "--json").json
    assert "name_changed" not in {finding["code"] for finding in plain}
    for target in ("quic://u@nowhere.invalid/g",):
        done = line.run_here(
            "assess", "--source", "s.sql", "--mapping", "m.yaml", "--target", target, "--json"
        )
        [found] = [finding for finding in done.json if finding["code"] == "name_changed"]
        assert "label Order becomes Order_" in found["evidence"]
        assert done.code == 0


# -- in processes and on screens -------------------------------------------------------------------


def test_a_run_in_processes_logs_in_with_what_its_parent_knows(
    server: Loopback, shop_dsn: str, tmp_path: Path
) -> None:
    """The run's process, and those of its workers; the journal holds no password."""
    address, password = parse_address(server.grpc_dsn(graph="processes"))
    assert password
    credentials.remember(address.place, password)
    mapping = _one_label(shop_dsn)
    journal = tmp_path / "journal" / "journal.sqlite3"
    journal.parent.mkdir()
    runner = ProcessRunner(RunRequest(shop_dsn, address.place, mapping), journal=journal)
    runner.start()
    runner.join()
    assert runner.error is None, runner.error
    assert runner.ledger is not None
    assert runner.ledger.balanced
    for file in journal.parent.iterdir():
        assert file.is_dir() or password.encode() not in file.read_bytes()


def _one_label(dsn: str) -> Mapping:
    return Mapping(nodes=infer(read_catalog(dsn)).nodes[:1])


def test_a_wrong_password_ends_a_run_before_it_writes(
    server: Loopback, shop_dsn: str, tmp_path: Path
) -> None:
    address, _ = parse_address(server.grpc_dsn(graph="refused"))
    credentials.remember(address.place, SECRET)
    runner = Runner(
        RunRequest(shop_dsn, address.place, _one_label(shop_dsn)), journal=tmp_path / "j.sqlite3"
    )
    runner.start()
    runner.join()
    assert isinstance(runner.error, ConnectError)
    assert "login" in str(runner.error)
    assert SECRET not in str(runner.error)


def test_names_that_become_one_stop_a_run_before_it_connects(shop_dsn: str, tmp_path: Path) -> None:
    """Nobody listens at the target: the findings come first."""
    nodes = infer(read_catalog(shop_dsn)).nodes[:2]
    mapping = Mapping(nodes=(replace(nodes[0], label="Order"), replace(nodes[1], label="Order_")))
    request = RunRequest(shop_dsn, "grpc://127.0.0.1:1/g?tls=0", mapping)
    runner = Runner(request, journal=tmp_path / "j.sqlite3")
    runner.start()
    runner.join()
    assert isinstance(runner.error, GeodeTuiError)
    assert "labels Order and Order_ become one in Geode" in str(runner.error)


async def test_what_a_server_refuses_a_worker_is_told() -> None:
    """And not taken for a process that died, which would be tried again for long."""
    rule = NodeRule("A", TableName("s", "a"), (), ())
    plan = TargetPlan("grpc://127.0.0.1:1/g?tls=0")
    worker = ProcessWorker(None, [rule], plan, "u")  # type: ignore[arg-type]
    try:
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
            await worker.move(rule, None, None, None, lambda text: None)  # type: ignore[arg-type]
    finally:
        await worker.close()


@pytest.fixture
def app(tmp_path: Path) -> GeodeApp:
    """The program with nothing connected."""
    return GeodeApp(Workspace(mapping_path=tmp_path / "mapping.yaml"))


async def test_the_form_masks_the_password_of_a_target(app: GeodeApp, shop_dsn: str) -> None:
    """It leaves the DSN for a field of its own, and no screen shows it."""
    async with app.run_test(size=NARROW) as pilot:
        form = app.screen
        assert not form.query_one("#target_password-line").display
        form.query_one("#target", Input).value = f"quic://u:{SECRET}@h?insecure=1"
        form.query_one("#graph", Input).value = "g"
        form.query_one("#source", Input).value = shop_dsn
        await pilot.pause()
        assert form.query_one("#target_password-line").display
        form.query_one("#source", Input).focus()
        await pilot.press("enter")
        await settle(pilot)
        assert app.workspace.target_place == "quic://u@h:3141/g?insecure=1"
        assert app.workspace.graph is None
        assert credentials.password_of(app.workspace.target_place) == SECRET
        title = screen_text(app).splitlines()[0]
        assert "u@h/g" in title
        assert "unverified" in title
        assert SECRET not in screen_text(app)
        await pilot.press("1")
        await settle(pilot)
        assert SECRET not in screen_text(app)


async def test_a_wrong_target_is_told_at_its_field(app: GeodeApp) -> None:
    async with app.run_test(size=NARROW) as pilot:
        app.screen.query_one("#target", Input).value = f"quic://u:{SECRET}@h:x"
        await pilot.press("enter")
        await settle(pilot)
        text = screen_text(app)
        assert "wrong port" in text
        await pilot.press("escape")
        await settle(pilot)
        assert app.focused is not None
        assert app.focused.id == "target"
        assert SECRET not in text.replace(f"quic://u:{SECRET}@h:x", "")


async def test_a_password_in_a_profile_written_by_hand_is_masked(app: GeodeApp) -> None:
    """Nothing of it is seen in the list or in the form."""
    save_profile(Profile("shop", "postgresql://h/d", "quic://u@h:3141/g"))
    file = profiles_file()
    file.write_text(file.read_text().replace("quic://u@h", f"quic://u:{SECRET}@h"))
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        assert SECRET not in screen_text(app)
        assert app.screen.query_one("#target", Input).value == "quic://u@h:3141/g"
        assert app.screen.query_one("#target_password", Input).value == SECRET
