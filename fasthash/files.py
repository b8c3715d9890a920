# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a crash never leaves half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a binary file that takes the place of `path` when the block ends without an exception.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and renamed over `path`. On any
    exception, Ctrl-C and a full disk included, the temporary file is removed and an old file at `path` stays as it
    was. A new file gets the usual permissions, a replaced one keeps its own; a symbolic link keeps pointing where it
    does, and the file behind it is replaced.

    Args:
        path: the file to write; its folder has to exist.

    Yields:
        The open temporary file, to be written to but not closed.

    Raises:
        OSError: the folder is missing or not writable, `path` is a folder, or the disk is full; `filename` is set.

    Example:
        >>> with atomic_write("codes.bin") as file:
        ...     file.write(data)
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            temporary.chmod(target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut; some file systems cannot, and the file is whole either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
