# SPDX-License-Identifier: Apache-2.0
"""Arguments of another kind than an operator takes: the text names them, and does not print their values."""

from __future__ import annotations

import inspect
import traceback

import pytest
import torch

from fasthash import ops

ROWS = torch.arange(80, dtype=torch.uint8).reshape(10, 8)
VALUES = torch.linspace(-1, 1, 80).reshape(10, 8)
IDS = torch.arange(10) % 3
SQUARE = torch.ones(10, 10)
RELATION = torch.ones(10, 10, dtype=torch.int8)
PREPARED = ops.prepare_database(ROWS)

CALLS = {
    "class_softmax": {
        "embeddings": VALUES,
        "weights": VALUES,
        "targets": IDS,
        "bias": SQUARE[0],
        "factors": SQUARE[0],
        "margin": 0.2,
    },
    "discrete_code_update": {
        "codes": RELATION,
        "relaxed": SQUARE,
        "labels": IDS,
        "relaxed_labels": IDS,
        "positions": IDS,
    },
    "hamming_distance": {"queries": ROWS, "database": ROWS},
    "hamming_histogram": {"queries": ROWS, "database": ROWS, "query_labels": IDS, "database_labels": IDS},
    "hamming_range": {"queries": ROWS, "database": ROWS, "radius": 2},
    "hamming_topk": {"queries": ROWS, "database": ROWS, "k": 2, "ids": torch.arange(10), "allow": ROWS[0, :2]},
    "label_sums": {"values": VALUES, "labels": IDS, "query_labels": IDS},
    "order_aware_triplet": {
        "distances": SQUARE,
        "relation": RELATION,
        "anchor_codes": ROWS,
        "item_codes": ROWS,
        "margin": 1.0,
    },
    "pack_codes": {"codes": VALUES},
    "pairwise_similarity_loss": {"embeddings": VALUES, "labels": IDS, "rule": "likelihood"},
    "prepare_database": {"rows": ROWS},
    "tanh_quantize": {"logits": VALUES, "threshold": 0.9},
    "triplet_margin": {"distances": SQUARE, "relation": RELATION, "margin": 1.0},
    "unpack_codes": {"packed": ROWS, "bits": 60},
}
CASES = [(op, argument) for op, arguments in CALLS.items() for argument in arguments if argument != "rule"]


def test_every_operator_is_here():
    functions = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}
    assert functions == set(CALLS)


@pytest.mark.parametrize(("op", "argument"), [case for case in CASES if case != ("discrete_code_update", "positions")])
def test_what_is_of_no_kind_that_is_taken_is_named(op, argument):
    right = CALLS[op][argument]
    bad = right.numpy() if isinstance(right, torch.Tensor) else "2"
    getattr(ops, op)(**CALLS[op])
    with pytest.raises(TypeError, match=rf"^{op}: {argument} must be an? \S*.*, got {type(bad).__name__}$") as caught:
        getattr(ops, op)(**{**CALLS[op], argument: bad})
    assert "array(" not in "".join(traceback.format_exception(caught.value)), "the dispatcher's text is shown, too"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ops.hamming_topk(ROWS, ROWS, 2.0), "hamming_topk: k must be an int, got float"),
        (lambda: ops.hamming_range(ROWS, PREPARED, 2.0), "hamming_range: radius must be an int, got float"),
        (lambda: ops.hamming_topk(PREPARED, ROWS, 2), "queries must be a torch.Tensor, got PackedDatabase"),
        (lambda: ops.hamming_topk(PREPARED, PREPARED, 2), "queries must be a torch.Tensor, got PackedDatabase"),
        (lambda: ops.hamming_topk(ROWS, [1], 2), "database must be a torch.Tensor or PackedDatabase, got list"),
        (lambda: ops.hamming_topk(ROWS, ROWS, 2, allow=[1]), "allow must be a torch.Tensor or None, got list"),
        (lambda: ops.prepare_database(PREPARED), "rows must be a torch.Tensor, got PackedDatabase"),
    ],
)
def test_texts(call, text):
    with pytest.raises(TypeError, match=f"{text}$"):
        call()


def test_other_errors_stay():
    with pytest.raises(ValueError, match="k must"):
        ops.hamming_topk(ROWS, ROWS, 11)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        ops.hamming_topk(ROWS, ROWS, n=1)
    with pytest.raises(RuntimeError, match="Could not run 'fasthash::pack_codes'"):
        ops.pack_codes(VALUES.to_sparse())
