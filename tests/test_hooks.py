"""Hooks are run as they are written, without a shell, and nothing of them outlives its time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.migration.replication.hooks import check_hooks, masked, run_hook

SECONDS = 20.0


async def output(command: str, seconds: float = SECONDS, **environment: str) -> list[str]:
    """What a hook prints."""
    told: list[str] = []
    await run_hook("on-flip", command, environment, seconds, told.append)
    return [line.removeprefix("hook on-flip: ") for line in told]


async def test_words_are_taken_apart_and_nothing_is_expanded(tmp_path: Path) -> None:
    file = tmp_path / "made"
    command = f"printf '%s\\n' 'one word' \"two words\" $HOME '$(touch {file})' ; *"
    words = ["one word", "two words", "$HOME", f"$(touch {file})", ";", "*"]
    assert await output(command) == words
    assert not file.exists()


async def test_it_is_told_of_the_run_and_both_outputs_are_kept() -> None:
    command = "sh -c 'echo run $MIG_RUN; echo because $MIG_REASON >&2; cat'"
    told = await output(command, MIG_RUN="7", MIG_REASON="it's [late]")
    assert told == ["run 7", "because it's [late]"]


async def test_a_password_that_it_prints_is_not_kept() -> None:
    told = await output("echo postgresql://me:s3cret@db1/shop password=s3cret")
    assert "s3cret" not in told[0]
    command = {"on-flip": "switch --to postgresql://me:s3cret@db1/shop"}
    assert masked(command) == {"on-flip": "switch --to postgresql://me:***@db1/shop"}


async def test_much_output_and_long_lines_hold_nothing_up() -> None:
    told = await output("sh -c 'yes | head -100000; head -c 3000000 /dev/zero; echo; exit 0'")
    assert len(told) <= 200
    assert max(map(len, told)) <= 500


@pytest.mark.parametrize("command", ["sleep 60", "sh -c 'trap \"\" TERM; sleep 60 & sleep 61'"])
async def test_what_takes_too_long_is_ended_with_its_children(command: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(GeodeTuiError, match="hook on-flip failed") as error:
        await output(f"env MARK={tmp_path} {command}", 0.3)
    assert "did not end within 0.3 s" in error.value.why
    assert time.monotonic() - begun < 5
    assert not _running(f"MARK={tmp_path}")


async def test_what_one_that_ended_well_has_started_runs_on(tmp_path: Path) -> None:
    """An application that a hook starts is not ended with it, nor is its end waited for."""
    begun = time.monotonic()
    assert await output(f"env MARK={tmp_path} sh -c 'sleep 60 & echo started $!'") != []
    assert time.monotonic() - begun < 5
    [left] = _running(f"MARK={tmp_path}")
    os.kill(int(left), 9)


def _running(mark: str) -> list[str]:
    """The processes with that in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            alive = "\nState:\tZ" not in (process / "status").read_text()
            if alive and mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks into /proc")
def test_that_look_finds_processes() -> None:
    name, value = next(iter(os.environ.items()))
    assert _running(f"{name}={value}")


async def test_what_fails_is_told() -> None:
    with pytest.raises(GeodeTuiError) as error:
        await output("sh -c 'exit 3'")
    assert error.value.why == "it ended with code 3"
    with pytest.raises(GeodeTuiError) as error:
        await output("/no/such/program now")
    assert error.value.why == "No such file or directory"


def test_what_cannot_be_run_is_refused_before() -> None:
    for commands, why in (
        ({"on-flop": "true"}, "no hook on-flop"),
        ({"on-flip": "echo 'x"}, "cannot be read"),
        ({"on-flip": "  "}, "no command"),
    ):
        with pytest.raises(UsageError, match=why):
            check_hooks(commands)
