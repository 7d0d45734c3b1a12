"""`jorder derain` on a folder, disturbed; `make faults` disturbs more, and more often."""

import signal
import sys

import pytest
from typer.testing import CliRunner

from jorder_preproc.cli import app
from reliability.__main__ import app as checks
from reliability.checks import run_checks
from reliability.faults import derain_work, make_photos
from reliability.processes import Command, digests, small_disk, temporary_files

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="signals, /proc and tmpfs of Linux"),
    pytest.mark.usefixtures("one_thread"),
]
IMAGES = 8


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return derain_work(make_photos(tmp_path_factory.mktemp("faults") / "photos", IMAGES))


def finish(work, out):
    """The same command to its end, in this process."""
    result = CliRunner().invoke(app, work.command(out)[2:])
    assert result.exit_code == 0, result.output
    return digests(out)


@pytest.fixture(scope="module")
def expected(work, tmp_path_factory):
    return finish(work, tmp_path_factory.mktemp("undisturbed"))


def test_interrupted_then_killed(work, expected, tmp_path):
    command = Command(work.command(tmp_path))
    command.wait_for(lambda: len(list(tmp_path.glob("*.png"))) >= 2)
    command.interrupt()
    output = command.end(130)
    assert "Traceback" not in output
    assert "interrupted: no file is half written; the same command again goes on" in output
    before = digests(tmp_path)
    assert 2 <= len(before) < IMAGES and before.items() <= expected.items()

    command = Command(work.command(tmp_path))
    command.wait_for(lambda: len(list(tmp_path.glob("*.png"))) > len(before))
    command.kill()
    assert len(list(tmp_path.glob("*.png"))) < IMAGES
    assert finish(work, tmp_path) == expected


def test_disk_full(work, expected, tmp_path):
    with small_disk(tmp_path / "disk", 200_000) as mounted:
        out = tmp_path / "disk/out"
        output = Command(work.command(out), None if mounted else 4096).end(2 if mounted else 1)
        assert ("no space left to write" if mounted else "File too large") in output
        assert "Traceback" not in output and not temporary_files(out)
        assert digests(out).items() < expected.items()


def test_two_processes_on_one_folder(work, expected, tmp_path):
    both = [Command(work.command(tmp_path)) for _ in range(2)]
    for command in both:
        command.end(0)
    assert digests(tmp_path) == expected


def test_an_interrupted_check_leaves_nothing_running(capsys):
    commands = []

    def interrupted():
        commands.append(Command(["-c", "import time; time.sleep(60)"]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks({("quiet", "nothing"): lambda: None, ("Ctrl-C", "a command"): interrupted})
    assert commands[0].process.returncode == -signal.SIGKILL
    assert "quiet" in capsys.readouterr().out  # what was checked before is not lost


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["faults", "--only", "kills"], "no row begins with kills; there are: "),
        (["fuzz", "--kind", "image", "--kind", "images"], "got 'images'"),
    ],
)
def test_checks_that_do_not_exist_are_refused(arguments, message):
    result = CliRunner().invoke(checks, arguments)
    assert result.exit_code == 2 and message in result.stderr
