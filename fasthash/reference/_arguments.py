# SPDX-License-Identifier: Apache-2.0
"""Arguments that the references of several ops share: checked, with the texts of the compiled ops."""

from __future__ import annotations

import torch
from torch import Tensor

from fasthash import _checks
from fasthash.packed_database import PackedDatabase, require_width
from fasthash.reference.unpack_codes import unpack_bits


def rows_of(op: str, queries: Tensor, database: Tensor | PackedDatabase) -> Tensor:
    """(N, W) uint8 rows of a database; refuses queries and databases that do not fit each other."""
    _checks.require_packed(op, "queries", queries)
    if isinstance(database, PackedDatabase):
        require_width(op, queries, database)
        database = database.rows()
    _checks.require_packed(op, "database", database)
    same = queries.shape[1] == database.shape[1]
    _checks.require(same, op, "database", f"of shape (rows, {queries.shape[1]}) like queries", tuple(database.shape))
    _checks.require_same_device(op, "database", database, queries.device)
    return database


def ids_of(op: str, rows: Tensor, ids: Tensor | None) -> Tensor:
    """(N,) int64 ids of the rows; refuses those that do not fit."""
    count = len(rows)
    if ids is None:
        return torch.arange(count, device=rows.device)
    _require(op, "ids", ids, torch.int64, count, "one for each code", rows.device)
    return ids


def allowed(op: str, rows: Tensor, allow: Tensor | None) -> Tensor:
    """(N,) bool: the rows that may be found; refuses a mask that does not fit."""
    count = len(rows)
    if allow is None:
        return torch.ones(count, dtype=torch.bool, device=rows.device)
    _require(op, "allow", allow, torch.uint8, (count + 7) // 8, "one bit for each code", rows.device)
    return unpack_bits(allow[None]).flatten()[:count].bool()


def _require(
    op: str, argument: str, tensor: Tensor, dtype: torch.dtype, length: int, why: str, device: torch.device
) -> None:
    _checks.require_dtype(op, argument, tensor, (dtype,))
    _checks.require(tensor.shape == (length,), op, argument, f"of shape ({length},), {why}", tuple(tensor.shape))
    _checks.require_same_device(op, argument, tensor, device)
