"""What all programs have in common: options, help, exit status, streams that are no terminal."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import CLIENT, run, write_clip
from fakes import FakeTriton, Silence
from results import result_of
from rich.console import Console
from tiny import wait_for

from syncnet_client.records.open import open_output
from syncnet_client.records.record import Record
from syncnet_programs import terminal

PROGRAMS = {
    "syncnet-client": [
        "score",
        "align",
        "watch",
        "calibrate",
        "report",
        "summarize",
        "filter",
        "fetch",
    ],
    "syncnet-export": ["build", "verify", "describe", "inspect", "fetch", "tensorrt"],
    "syncnet-train": ["synthesize", "prepare", "fit", "evaluate", "profile"],
}
SINGLE = ["syncnet-server", "syncnet-gateway"]  # programs that are one command
COMMANDS = [(program, (command,)) for program, commands in PROGRAMS.items() for command in commands]
COMMANDS += [(program, ()) for program in SINGLE]


def call(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
        check=False,
    )


Say = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """The same in this process, which costs no start of another; for what does no work."""

    def said(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        package = {"syncnet-train": "syncnet_training"}.get(program, program.replace("-", "_"))
        status = importlib.import_module(f"{package}.cli").PROGRAM.run(arguments)
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, captured.out, captured.err)

    return said


@pytest.mark.parametrize("program", [*PROGRAMS, *SINGLE])
def test_a_program_tells_its_version_and_its_commands(program: str):
    assert call(program, "--version").stdout.startswith(f"{program} 0.")
    short, long = call(program, "-h"), call(program, "--help")
    assert (short.stdout, short.returncode) == (long.stdout, 0)
    for command in PROGRAMS.get(program, ()):
        assert f"\n  {command} " in short.stdout
    assert "..." not in short.stdout.partition("Commands:")[2]


@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_help_has_groups_and_examples(say: Say, program: str, command: tuple[str, ...]):
    done = say(program, *command, "-h")
    assert done.returncode == 0
    assert done.stdout == say(program, *command, "--help").stdout
    titles = [line for line in done.stdout.splitlines() if line and line[0] not in " U"]
    assert titles[-2:] == ["General:", "Examples:"]
    if program != "syncnet-client":  # whose commands have options that belong to no group
        assert "Options:" not in titles
    for option in ("-q, --quiet", "-v, --verbose", "-h, --help"):
        assert option in done.stdout
    examples = done.stdout.partition("Examples:\n")[2].splitlines()
    assert examples
    begin = " ".join(["", "", program, *command])
    assert all(line.startswith(begin) for line in examples)


@pytest.mark.parametrize("command", ["score", "align", "watch", "calibrate"])
def test_options_of_the_connection_have_variables(say: Say, command: str):
    text = " ".join(say("syncnet-client", command, "-h").stdout.split())
    section = text.partition("Server: ")[2].partition("General: ")[0]
    options = [word for word in section.split() if word.startswith("--") and word[2:3] != "n"]
    for option in options:
        if option != "--local":
            assert "SYNCNET_" + option[2:].upper().replace("-", "_") in section
    assert len(options) > 9


def test_variables_of_the_connection_count(tmp_path: Path):
    clip = write_clip(tmp_path / "talk.mkv")
    with FakeTriton() as server:
        headers = "Authorization: Bearer x y\nx-team: 7"
        done = run("score", clip, "--json", SYNCNET_URL=server.url, SYNCNET_HEADERS=headers)
        assert done.returncode == 0, done.stderr
        assert server.metadata["authorization"] == "Bearer x y"
        assert server.metadata["x-team"] == "7"
        for name, value, word in [
            ("SYNCNET_CA", "gone.pem", "gone.pem"),
            ("SYNCNET_TIMEOUT", "-1", "timeout"),
            ("SYNCNET_STREAMS", "0", "--streams"),
        ]:
            done = run("score", clip, SYNCNET_URL=server.url, **{name: value})
            assert done.returncode == 2
            assert word in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes(shell: str):
    script = call("syncnet-client", _SYNCNET_CLIENT_COMPLETE=f"source_{shell}").stdout
    assert f"_SYNCNET_CLIENT_COMPLETE=complete_{shell}" in script


@pytest.mark.parametrize("program", PROGRAMS)
def test_commands_are_completed(program: str):
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    done = call(
        program,
        **{variable: "complete_bash", "COMP_WORDS": f"{program} ", "COMP_CWORD": "1"},
    )
    assert set(done.stdout.split()) >= set(PROGRAMS[program])


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", [["--bogus"], ["bogus"], []])
def test_a_wrong_command_line_is_one_line(say: Say, program: str, arguments: list[str]):
    done = say(program, *arguments)
    assert done.returncode == 2
    if arguments:
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"{program}: ")
        assert "bogus" in line


@pytest.mark.parametrize(("program", "command"), COMMANDS)
def test_a_wrong_option_is_one_line_that_names_the_help(
    say: Say, program: str, command: tuple[str, ...]
):
    done = say(program, *command, "--bogus")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert " ".join([program, *command, "-h"]) in line


def test_quiet_and_verbose(tmp_path: Path):
    for name in ("a.mkv", "b.mkv"):
        write_clip(tmp_path / name)
    with FakeTriton() as server:
        quiet = run("score", tmp_path, "-q", "--url", server.url)
        assert (quiet.returncode, quiet.stderr) == (0, "")
        assert quiet.stdout.count("\n") == 2
        assert run("score", tmp_path, "--url", server.url).stderr != ""
    broken = tmp_path / "broken.mp4"
    broken.write_text("no media")
    quiet = run("score", broken, "-q", "--url", server.url)
    assert (quiet.returncode, quiet.stderr.count("\n")) == (1, 1)
    verbose = run("score", broken, "-v", "--url", server.url)
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.splitlines()[-1].startswith("syncnet-client: ")
    assert run("score", broken, "-q", "-v").returncode == 2


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_a_locale_without_unicode_gets_ascii(tmp_path: Path, locale: str):
    clip = write_clip(tmp_path / "talk.mkv")
    encoding = {} if locale == "C" else {"PYTHONIOENCODING": "latin-1"}
    with FakeTriton() as server:
        done = run("score", clip, "--url", server.url, LC_ALL=locale, **encoding)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()
        assert "#" in done.stdout
        assert "#" not in run("score", clip, "--url", server.url, LC_ALL="C.UTF-8").stdout


def test_standard_output_that_is_full(tmp_path: Path):
    clip = write_clip(tmp_path / "talk.mkv")
    with FakeTriton() as server:
        for options in ([], ["--json"]):
            with Path("/dev/full").open("w") as full:
                done = subprocess.run(
                    [*CLIENT, "score", clip, *options, "--url", server.url],
                    stdout=full,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=60,
                    check=False,
                )
            assert done.returncode == 1
            assert done.stderr == ("syncnet-client: cannot write: No space left on device\n")


@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.parametrize("several", [False, True])
def test_ctrl_c_is_status_130_and_one_line(tmp_path: Path, attempt: int, several: bool):
    """At any moment: before the main thread waits for the server, and while it does."""
    clips = [write_clip(tmp_path / f"{n}.mkv", frames=400) for n in range(1 + several)]
    with FakeTriton([Silence()] * 50) as server:
        process = subprocess.Popen(
            [*CLIENT, "score", *map(str, clips), "--url", server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert wait_for(lambda: bool(server.streamed) or process.poll() is not None, 120)
        time.sleep(0.05 * attempt)  # not a wait: another moment each time
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == ""
    done = "0 of 2 clips were finished" if several else f"{clips[0]} was not scored"
    assert stderr == f"syncnet-client: stopped: {done}\n"


@pytest.mark.parametrize("option", ["--overlay", "--plot"])
def test_no_file_is_replaced_unasked_and_no_input_at_all(tmp_path: Path, option: str):
    suffix = {"--overlay": ".mkv", "--plot": ".png"}[option]
    clip = write_clip(tmp_path / "talk.mkv")
    taken = tmp_path / f"taken{suffix}"
    taken.write_text("mine")
    with FakeTriton() as server:
        url = ("--url", server.url)
        done = run("score", clip, option, taken, *url)
        assert done.returncode == 2
        assert done.stderr.endswith(f"{taken} exists already; pass --overwrite to replace it\n")
        assert taken.read_text() == "mine"
        assert not server.streamed
        assert run("score", clip, option, taken, "--overwrite", *url).returncode == 0
        assert taken.read_bytes() != b"mine"
        if option == "--overlay":
            before = clip.read_bytes()
            for flags in ([], ["--overwrite"]):
                for out in (clip, tmp_path / "x" / ".." / "talk.mkv"):
                    (tmp_path / "x").mkdir(exist_ok=True)
                    done = run("score", clip, option, out, *flags, *url)
                    assert done.returncode == 2
                    assert "is what is read" in done.stderr
            assert clip.read_bytes() == before


@pytest.mark.parametrize(
    "options", [("--plot", "a.bmp"), ("--overlay", "a.avi"), ("--plot", "no/folder/a.png"), ()]
)
def test_no_server_is_started_for_what_cannot_work(tmp_path: Path, options: tuple[str, ...]):
    clip = write_clip(tmp_path / "talk.mkv") if options else tmp_path / "gone.mp4"
    done = run("score", clip, "--local", *options, cwd=tmp_path)
    assert done.returncode == (2 if options else 1)
    (line,) = done.stderr.splitlines()
    assert (options[-1] if options else "gone.mp4: no such file") in line


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("score gone.mp4 lost.mp4", 1),
        ("score gone.mp4 --output results.jsonl", 1),
        ("score a.mkv b.mkv --output results.txt", 2),
        ("score a.mkv b.mkv --audio gone.wav", 1),
        ("score a.mkv b.mkv --detector yunet", 2),
        ("score a.mkv --output done.jsonl", 0),
        ("watch gone.mp4", 1),
        ("calibrate a.mkv gone.mp4", 2),
        ("calibrate a.mkv b.mkv --plot thresholds.txt", 2),
        ("align a.mkv b.mkv", 2),
        ("align a.mkv a.avi", 2),
    ],
)
def test_no_server_is_started_for_nothing(tmp_path: Path, line: str, status: int):
    for name in ("a.mkv", "b.mkv"):
        write_clip(tmp_path / name, frames=10)
    with open_output(tmp_path / "done.jsonl") as output:
        output.append(Record.scored("a.mkv", result_of("a.mkv")))
    done = run(*line.split(), "--local", cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert "starting a local server" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_prepare_starts_no_server_for_nothing(tmp_path: Path):
    done = call("syncnet-train", "prepare", tmp_path / "set", tmp_path / "gone.mp4", "--local")
    assert done.returncode == 1
    assert "starting a local server" not in done.stderr
    assert "gone.mp4: no such file" in done.stderr


def test_tables_in_a_pipe_have_no_trailing_blanks(tmp_path: Path):
    tables = [call("syncnet-export", "inspect").stdout]
    with FakeTriton() as server:
        tables.append(run("score", write_clip(tmp_path / "a.mkv"), "--url", server.url).stdout)
    for table in tables:
        assert len(table.splitlines()) > 4
        assert [line for line in table.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("page", ["results.html", "link.html"])
def test_a_report_replaces_nothing_unasked_and_no_input_at_all(tmp_path: Path, page: str):
    results = tmp_path / "results.jsonl"
    with open_output(results) as output:
        output.append(Record.scored("a.mkv", result_of("a.mkv")))
    (tmp_path / "link.html").symlink_to(results)
    (tmp_path / "results.html").write_text("mine")
    before = results.read_bytes()
    command = ("report", results, "--output", tmp_path / page, "--no-thumbnails")
    assert run(*command).returncode == 2
    replaced = run(*command, "--overwrite")
    if page == "link.html":
        assert replaced.stderr.endswith("link.html is what is read: choose another name\n")
    else:
        assert replaced.returncode == 0, replaced.stderr
    assert results.read_bytes() == before


def test_what_takes_long_shows_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch):
    shown = io.StringIO()
    for is_terminal in (False, True):
        console = Console(file=shown, force_terminal=is_terminal, width=60)
        monkeypatch.setattr(terminal, "progress_console", lambda console=console: console)
        with terminal.working("reading the clips") as tell:
            tell("writing the towers")
        assert bool(shown.getvalue()) is is_terminal
    assert "writing the towers" in shown.getvalue()
