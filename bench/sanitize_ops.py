# SPDX-License-Identifier: Apache-2.0
"""Runs every op on small inputs on a device, and compares with the CPU; for compute-sanitizer, see bench/gpu.sh.

Sizes lie at the edges of warps and tiles. Inputs are copied from the host, so that a sanitizer knows them as written.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from fasthash import ops
from fasthash.losses import OrderAwareTripletLoss
from fasthash.metrics import mean_average_precision

ROWS = (1, 33, 257)
BITS = (12, 64, 256, 1000)
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

Outputs = list[Tensor]


def _codes(rows: int, bits: int, device: str) -> Tensor:
    return torch.randint(0, 256, (rows, bits // 8), dtype=torch.uint8).to(device)


def tanh_quantize(device: str) -> Outputs:
    """Forward and backward, every dtype, penalty and amplifier."""
    outputs = []
    penalties = itertools.cycle(("l2", "l1", "log_cosh", "cubic"))
    for rows, bits, dtype in itertools.product(ROWS, BITS, DTYPES):
        logits = (torch.randn(rows, bits + 3) * 3).to(dtype).to(device)[:, 1 : bits + 1].requires_grad_()
        output = ops.tanh_quantize(logits, penalty=next(penalties), pack=True, count_saturation=True)
        (output.codes.float().sum() + output.penalty.float()).backward()
        outputs += [output.packed, logits.grad] if logits.grad is not None else [output.packed]
    return outputs


def packing(device: str) -> Outputs:
    """pack_codes and unpack_codes, there and back."""
    outputs = []
    for rows, bits, dtype in itertools.product(ROWS, BITS, (*DTYPES, torch.int8, torch.int64)):
        codes = (torch.randn(rows, bits) * 3).to(dtype).to(device)
        packed = ops.pack_codes(codes)
        outputs += [packed, ops.unpack_codes(packed, bits)]
    return outputs


def search(device: str) -> Outputs:
    """hamming_distance and hamming_topk in both layouts, with few and all neighbours; gathered ones last."""
    outputs = []
    for queries, rows, bits in itertools.product((1, 33), ROWS, (8, 64, 136, 1024)):
        asked, database = _codes(queries, bits, device), _codes(rows, bits, device)
        for layout in (database, ops.prepare_database(database)):
            outputs.append(ops.hamming_distance(asked, layout))
            for k in {1, min(10, rows), rows}:
                outputs += ops.hamming_topk(asked, layout, k)
    asked, database = _codes(17, 64, device), _codes(8200, 64, device)
    for layout in (database, database[:1].repeat(8200, 1)):  # the second one's lists overflow
        outputs += ops.hamming_topk(asked, layout, 10)
    return outputs


def selection(device: str) -> Outputs:
    """hamming_topk and hamming_range with ids and masks, also one that allows nothing."""
    outputs = []
    for rows, bits, density in itertools.product(ROWS, (8, 64, 136), (0.0, 0.3)):
        asked, database = _codes(9, bits, device), ops.prepare_database(_codes(rows, bits, device))
        ids = torch.randperm(rows).to(device) * 3
        allow = ops.pack_codes(torch.rand(1, rows) - 1 + density)[0].to(device)
        outputs += ops.hamming_topk(asked, database, rows, ids, allow)
        for radius in (0, bits // 2, bits):
            outputs += ops.hamming_range(asked, database, radius, ids, allow)
    return outputs


def histograms(device: str) -> Outputs:
    """hamming_histogram without labels, with ids and with multi-hot bits."""
    outputs = []
    for queries, rows, bits in itertools.product((1, 9), ROWS, (8, 64, 1024)):
        asked, database = _codes(queries, bits, device), _codes(rows, bits, device)
        classes = torch.randint(0, 3, (queries,)).to(device), torch.randint(0, 3, (rows,)).to(device)
        several = _codes(queries, 80, device), _codes(rows, 80, device)
        for labels in ((), classes, several):
            outputs += ops.hamming_histogram(asked, database, *labels)
    return outputs


def discrete_codes(device: str) -> Outputs:
    """discrete_code_update and label_sums, with ids and with multi-hot bits."""
    outputs = []
    for rows, bits in itertools.product(ROWS, (1, 12, 48, 65)):
        codes = torch.randint(0, 2, (rows, bits), dtype=torch.int8) * 2 - 1
        relaxed, labels = torch.randn(9, bits).tanh(), torch.arange(rows) % 5
        several = _codes(rows, 24, device)
        for own in (labels.to(device), several):
            asked = own[:1].repeat(9, *(1,) * (own.dim() - 1))
            given = codes.to(device), relaxed.to(device)
            outputs += [*ops.discrete_code_update(*given, own, asked, sweeps=2), *ops.label_sums(given[0], own, asked)]
    return outputs


def triplets(device: str) -> Outputs:
    """The loss and its gradient, and the mean average precision."""
    outputs = []
    for batch in (2, 33, 130):
        embeddings = torch.randn(batch, 64).to(device).requires_grad_()
        labels = (torch.arange(batch) % 5).to(device)
        OrderAwareTripletLoss()(embeddings, labels).backward()
        codes = ops.pack_codes(embeddings.detach())
        outputs += [codes, torch.as_tensor(mean_average_precision(codes, codes, labels, labels))]
        outputs += [embeddings.grad] if embeddings.grad is not None else []
    return outputs


def agree(got: Tensor, expected: Tensor) -> bool:
    """Integers are equal, floats close."""
    got = got.detach().cpu()
    if not got.is_floating_point():
        return torch.equal(got, expected)
    bound = 2e-2 if got.dtype in (torch.bfloat16, torch.float16) else 1e-4
    scale = float(expected.detach().double().abs().max()) if expected.numel() else 1.0
    return torch.allclose(got.double(), expected.detach().double(), rtol=bound, atol=bound * scale)


def failures(device: str) -> list[str]:
    """Names of the functions whose outputs differ between `device` and the CPU."""
    found = []
    functions: tuple[Callable[[str], Outputs], ...] = (
        tanh_quantize,
        packing,
        search,
        selection,
        histograms,
        discrete_codes,
        triplets,
    )
    for function in functions:
        sides = []
        for side in ("cpu", device):
            torch.manual_seed(0)
            sides.append(function(side))
        bad = sum(not agree(got, expected) for expected, got in zip(*sides, strict=True))
        print(f"{function.__name__}: {len(sides[0])} outputs, {bad} differ", flush=True)
        found += [function.__name__] * (bad > 0)
    return found


if __name__ == "__main__":
    sys.exit(1 if failures(sys.argv[1] if len(sys.argv) > 1 else "cuda") else 0)
