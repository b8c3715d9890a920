# SPDX-License-Identifier: Apache-2.0
"""Databases as operators' schemas carry them: rows, or words in the scan layout and how many codes they hold."""

from __future__ import annotations

from torch import Tensor

from fasthash.packed_database import PackedDatabase, require_width

ROWS = -1  # in place of the number of packed codes


def as_arguments(op: str, queries: Tensor, database: Tensor | PackedDatabase) -> tuple[Tensor, int]:
    """The arguments `database` and `packed_codes` of a schema."""
    if not isinstance(database, PackedDatabase):
        return database, ROWS
    require_width(op, queries, database)
    return database.words, database.count


def count_of(database: Tensor, packed_codes: int) -> int:
    """The number of codes N that the arguments of a schema stand for."""
    return database.shape[0] if packed_codes == ROWS else packed_codes
