# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Hamming operators share: definitions as loops over NumPy, inputs, and interrupted calls."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import torch

from fasthash import ops

PADDING = (2147483647, -1)


def naive_distances(queries, database):
    """(Q, N) int32 array of distances by NumPy's unpacked bits."""
    bits = [np.unpackbits(codes.numpy(), axis=1) for codes in (queries, database)]
    rows = [(query != bits[1]).sum(-1, dtype=np.int32) for query in bits[0]]
    return np.array(rows, dtype=np.int32).reshape(len(queries), len(database))


def ranked(queries, database, ids=None, allow=None):
    """For each query all (distance, id) that may be found, in order."""
    count = len(database)
    ids = list(range(count)) if ids is None else ids.tolist()
    allowed = np.ones(count, bool) if allow is None else np.unpackbits(allow.numpy(), count=count).astype(bool)
    rows = naive_distances(queries, database).tolist()
    return [sorted((d, i) for d, i, ok in zip(row, ids, allowed, strict=True) if ok) for row in rows]


def topk_tensors(pairs, k):
    """Distances (Q, k) and ids (Q, k) of what `ranked` gives, padded."""
    rows = [(row + [PADDING] * k)[:k] for row in pairs]
    found = torch.tensor(rows, dtype=torch.int64).reshape(len(rows), k, 2)
    return found[:, :, 0].int(), found[:, :, 1]


def range_tensors(pairs, radius):
    """Offsets, distances and ids of what `ranked` gives."""
    rows = [[pair for pair in row if pair[0] <= radius] for row in pairs]
    offsets = torch.tensor([0] + [len(row) for row in rows]).cumsum(0)
    found = torch.tensor([pair for row in rows for pair in row], dtype=torch.int64).reshape(-1, 2)
    return offsets, found[:, 0].int(), found[:, 1]


def assert_same(found, expected):
    """Equal dtypes, shapes and values, in place after place."""
    found = tuple(found)
    assert len(found) == len(expected)
    for tensor, right in zip(found, expected, strict=True):
        assert tensor.dtype == right.dtype
        assert torch.equal(tensor.cpu(), right.cpu())


def arguments(database, device, packed):
    """`database` and `packed_codes` of a raw operator: rows, or the scan layout of them."""
    if packed:
        return ops.prepare_database(database).words.to(device), len(database)
    return database.to(device), -1


def few_levels(rows, width, seed=0):
    """Codes of two different bytes in all: nearly all distances tie."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (rows, width), dtype=torch.uint8, generator=generator)


def masks(count):
    """Masks over `count` codes by name; the spare bits of `garbage` are set."""
    rng = np.random.default_rng(count)
    single = np.zeros(count, bool)
    single[count // 2 : count // 2 + 1] = True
    kinds = {
        "all": np.ones(count, bool),
        "dense": rng.random(count) < 0.9,
        "sparse": rng.random(count) < 0.02,
        "single": single,
        "none": np.zeros(count, bool),
    }
    packed = {name: torch.from_numpy(np.packbits(mask)) for name, mask in kinds.items()}
    packed["garbage"] = packed["single"].clone()
    if count % 8:
        packed["garbage"][-1] |= 0xFF >> (count % 8)
    return packed


def shuffled_ids(count, seed=0):
    """Distinct ids in no order, half of them negative, some beyond 32 bits."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randperm(count, generator=generator) - count // 2) * 3_000_000_019


# Announces itself, then works for half a minute or more; says how that ended.
LONG_CALL = """
import signal
import numpy as np, torch
from fasthash import _C, ops
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with SIGINT ignored
rng = np.random.default_rng(0)
queries, database = (rng.integers(0, 256, (rows, 32), dtype=np.uint8) for rows in (50_000, 200_000))
_C.force_machine("scalar")
print("started", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def assert_ctrl_c_ends(call):
    """Interrupts a call on `queries` and `database`, which are NumPy arrays."""
    script = [sys.executable, "-c", LONG_CALL.format(call=call)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(1.0)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait() == 0
    assert rest == "interrupted\n"
    assert time.monotonic() - asked < 5.0  # half a second, and what a busy machine adds
