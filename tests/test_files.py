# SPDX-License-Identifier: Apache-2.0
import errno
import os
import stat

import pytest

from fasthash.files import atomic_write


@pytest.fixture(params=[True, False], ids=["replacing", "new"])
def target(request, tmp_path):
    path = tmp_path / "data.bin"
    if request.param:
        path.write_bytes(b"old")
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(path, data=b"new"):
    with atomic_write(path) as file:
        file.write(data)


def test_writes_the_whole_file_and_nothing_else(target):
    write(target)
    assert contents(target.parent) == {"data.bin": b"new"}


def test_path_may_be_text(target):
    write(str(target))
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit, MemoryError])
def test_an_exception_while_writing_changes_nothing(target, error):
    before = contents(target.parent)

    def stop_half_way():
        with atomic_write(target) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(error):
        stop_half_way()
    assert contents(target.parent) == before


def disk_full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_changes_nothing_and_names_the_file(target, monkeypatch, call):
    before = contents(target.parent)
    monkeypatch.setattr(os, call, disk_full)
    with pytest.raises(OSError, match=r"No space left on device.*data\.bin") as caught:
        write(target)
    assert caught.value.errno == errno.ENOSPC
    assert contents(target.parent) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_write_that_fails_in_the_kernel_changes_nothing(target):
    before = contents(target.parent)

    def fill_the_disk():
        with atomic_write(target) as file:
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, file.fileno())
            os.close(full)
            file.write(b"x" * 100_000)

    with pytest.raises(OSError, match="No space left"):
        fill_the_disk()
    assert contents(target.parent) == before


def test_interrupt_during_the_rename_changes_nothing(target, monkeypatch):
    before = contents(target.parent)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(target)
    assert contents(target.parent) == before


def test_permissions_are_the_usual_ones_or_those_of_the_old_file(tmp_path):
    plain, written, private = tmp_path / "plain", tmp_path / "written", tmp_path / "private"
    plain.write_bytes(b"")
    write(written)
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    private.write_bytes(b"old")
    private.chmod(0o600)
    write(private)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_symbolic_link_stays_one(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write(link)
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_missing_folder_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "data.bin")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write(tmp_path)
    assert contents(tmp_path) == {}


def test_two_writers_do_not_meet(target):
    with atomic_write(target) as outer:
        outer.write(b"outer")
        write(target, b"inner")
        assert target.read_bytes() == b"inner"
    assert contents(target.parent) == {"data.bin": b"outer"}
