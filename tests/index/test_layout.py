# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import ops
from fasthash.index import layout

WIDTHS = st.sampled_from([1, 3, 4, 5, 8, 9, 16, 17])


def random_rows(count, width, seed=0):
    return torch.randint(0, 256, (count, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@given(width=WIDTHS, sizes=st.lists(st.integers(0, 70), max_size=5))
def test_parts_put_at_any_position_give_what_one_call_prepares(width, sizes):
    rows = random_rows(sum(sizes), width)
    expected = ops.prepare_database(rows)
    words, first = torch.zeros_like(expected.words), 0
    for part in rows.split(sizes):
        layout.put(words, width, first, layout.to_words(part))
        first += len(part)
    assert torch.equal(words, expected.words)


@given(width=WIDTHS, positions=st.lists(st.integers(0, 149), max_size=20))
def test_take_finds_codes_by_position(width, positions):
    rows = random_rows(150, width)
    found = layout.take(ops.prepare_database(rows).words, width, torch.tensor(positions, dtype=torch.int64))
    assert torch.equal(layout.to_bytes(found, width), rows[positions])


def test_rows_of_any_strides():
    rows = random_rows(10, 9)
    assert torch.equal(layout.to_bytes(layout.to_words(rows[::3, 2:7]), 5), rows[::3, 2:7])


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 24, 31, 32, 33, 63, 64, 65, 127, 128])
def test_bits_behind_the_last_one_are_seen(bits):
    width = (bits + 7) // 8
    database = ops.prepare_database(ops.pack_codes(torch.ones(70, bits)))
    assert not layout.has_bits_behind(database.words, width, bits)
    room = 8 * (4 if width <= 4 else (width + 7) // 8 * 8)
    for bit in range(bits, room):
        code = layout.to_words(ops.pack_codes(torch.arange(room)[None] == bit))
        for place in (69, 127):
            words = database.words.clone()
            groups = words.view(code.dtype).transpose(1, 2)
            groups[place // groups.shape[1], place % groups.shape[1]] = code[0]
            assert layout.has_bits_behind(words, width, bits), (bit, place)
