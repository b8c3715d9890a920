# SPDX-License-Identifier: Apache-2.0
"""The log of a run: one JSON object per line and logged step."""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from typing import Any

from fasthash.files import atomic_write

Record = dict[str, Any]


class TrainLog:
    """Appends records to a file, if there is one, and keeps them.

    Args:
        path: The file, or None to keep records in memory only.
        keep_up_to: Records already in the file whose step is beyond this one are dropped: a run that goes on from a
            checkpoint takes those steps again. -1 starts anew.

    Attributes:
        records: All records so far, those of the file included.
    """

    def __init__(self, path: Path | None, keep_up_to: int = -1) -> None:
        self.records: list[Record] = []
        self._path = path
        self._file: FileIO | None = None
        if path is None:
            return
        if path.exists():
            self.records = [record for record in read_log(path) if record["step"] <= keep_up_to]
        with atomic_write(path) as file:
            file.writelines(_line(record).encode() for record in self.records)
        self._file = path.open("ab", buffering=0)

    def write(self, record: Record) -> None:
        """Adds one record; the line is in the file when this returns.

        Raises:
            OSError: the line cannot be written, as with no space left.
        """
        self.records.append(record)
        if self._file is None:
            return
        line = _line(record).encode()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            text = f"the log cannot be written ({error.strerror}); a checkpoint written before is intact"
            raise OSError(error.errno, text, str(self._path)) from error

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def read_log(path: Path) -> list[Record]:
    """The records of a log; a last line that a crash cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
