"""Files are whole or not there, and what a killed process leaves half written is removed."""

import errno
import os
import signal
import sys

import pytest

from jorder_preproc import atomic
from jorder_preproc.atomic import atomic_path
from jorder_preproc.errors import DiskFullError

unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """A process looks for leftovers at its first write into a folder."""
    monkeypatch.setattr(atomic, "_tidied", set())


def begin_to_write(path, **options) -> int:
    """A process that has half written a file or folder; its id."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        with atomic_path(path, **options) as temporary:
            (temporary / "part" if options else temporary).write_text("half")
            os.write(writer, b".")
            signal.pause()
    assert os.read(reader, 1) == b"."
    os.close(reader)
    os.close(writer)
    return process


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


@unix
@pytest.mark.parametrize("options", [{}, {"folder": True}])
def test_what_a_killed_process_leaves_is_removed(tmp_path, options):
    process = begin_to_write(tmp_path / "a", **options)
    (half,) = tmp_path.iterdir()
    kill(process)
    assert list(tmp_path.iterdir()) == [half]
    with atomic_path(tmp_path / "b") as temporary:
        temporary.write_text("whole")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


@unix
@pytest.mark.parametrize("options", [{}, {"folder": True}])
def test_what_another_process_is_writing_is_left(tmp_path, options):
    process = begin_to_write(tmp_path / "a", **options)
    before = set(tmp_path.iterdir())
    with atomic_path(tmp_path / "b") as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == before | {tmp_path / "b"}
    kill(process)


def test_files_of_others_are_left(tmp_path):
    for name in (".jorder-1.tmp", ".jorder-notes.tmp", "jorder.tmp"):
        (tmp_path / name).write_text("mine")
    with atomic_path(tmp_path / "b") as temporary:
        temporary.write_text("whole")
    assert len(list(tmp_path.iterdir())) == 4


@unix
def test_a_file_that_is_taken_for_a_leftover_is_written_all_the_same(tmp_path, monkeypatch):
    """Another process may remove it after it is made and before it is locked."""
    lock, taken = atomic.fcntl.flock, []

    def late(number, how):
        if not taken:
            taken.append(*tmp_path.iterdir())
            taken[0].unlink()
        lock(number, how)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    with atomic_path(tmp_path / "a") as temporary:
        assert atomic.fcntl and os.path.exists(temporary)
        temporary.write_text("whole")
    assert taken and (tmp_path / "a").read_text() == "whole"


def test_a_folder_is_there_as_a_whole(tmp_path):
    with pytest.raises(KeyError), atomic_path(tmp_path / "a", folder=True) as temporary:
        (temporary / "file").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with atomic_path(tmp_path / "a", folder=True) as temporary:
        (temporary / "file").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told(tmp_path, number):
    (tmp_path / "a").write_text("before")
    with (
        pytest.raises(DiskFullError, match="no space left to write .*a; free some"),
        atomic_path(tmp_path / "a") as temporary,
    ):
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
