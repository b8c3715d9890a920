# SPDX-License-Identifier: Apache-2.0
"""hamming_range refuses results that memory has no room for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fasthash import _C, ops
from tests.cases import random_codes
from tests.hamming import assert_same, range_tensors, ranked


@pytest.fixture
def memory():
    """Sets the memory that is said to be available."""
    yield _C.force_available_memory
    _C.force_available_memory(-1)


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="needs /proc")
def test_available_memory_is_what_the_system_tells(memory):
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    sizes = {name: int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal")}
    assert abs(_C.available_memory() - sizes["MemAvailable"]) < sizes["MemTotal"] / 4
    memory(12345)
    assert _C.available_memory() == 12345
    memory(-1)
    assert _C.available_memory() != 12345


DOORS = {"torch": ops.hamming_range, "numpy": lambda q, d, r: _C.hamming_range(q.numpy(), d.numpy(), r)}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_results_without_room_are_refused(memory, door):
    queries, database = random_codes(100, 8), random_codes(10_000, 8)
    memory(1_000_000 * 12 - 1)
    text = (
        r"^hamming_range: 1000000 results need 0\.01 GiB \(12 bytes each\), and 0\.01 GiB of memory are available\. "
        r"Take a smaller radius, or fewer queries at a time\.$"
    )
    with pytest.raises(MemoryError, match=text):
        door(queries, database, 64)
    memory(1_000_000 * 12)
    assert len(door(queries, database, 64)[1]) == 1_000_000


def test_little_memory_is_enough_for_few_results(memory):
    queries, database = random_codes(3, 8), random_codes(50, 8)
    right = range_tensors(ranked(queries, database), 20)
    memory(12 * len(right[1]))
    assert_same(ops.hamming_range(queries, database, 20), right)
    memory(0)
    assert ops.hamming_range(queries, ~queries, 0).offsets.tolist() == [0, 0, 0, 0]


OUT_OF_MEMORY = """
import resource
import torch
from fasthash import _C, ops
torch.set_num_threads(1)
queries, database = torch.zeros(400, 8, dtype=torch.uint8), torch.zeros(100_000, 8, dtype=torch.uint8)
ops.hamming_range(queries[:1], database, 0)
_C.force_available_memory(2**62)
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**26, in_use + 2**26))
for call in (lambda: ops.hamming_range(queries, database, 0),
             lambda: _C.hamming_range(queries.numpy(), database.numpy(), 0)):
    try:
        call()
    except MemoryError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs /proc")
def test_an_allocation_that_fails_says_how_much_was_needed():
    result = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True)
    text = (
        "hamming_range: 40000000 results need 0.45 GiB (12 bytes each), which cpu could not allocate. "
        "Take a smaller radius, or fewer queries at a time.\n"
    )
    assert result.stdout == 2 * text, result.stderr


def test_an_allocation_that_fails_on_a_device_says_how_much_was_needed():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        count = int(torch.cuda.get_device_properties(0).total_memory * 0.02 / 12 / 1000)
        queries = torch.zeros(1000, 8, dtype=torch.uint8, device="cuda")
        database = torch.zeros(count, 8, dtype=torch.uint8, device="cuda")
        with pytest.raises(
            MemoryError, match=rf"^hamming_range: {1000 * count} results need .* which cuda:0 could not"
        ):
            ops.hamming_range(queries, database, 0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
