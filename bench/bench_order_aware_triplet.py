# SPDX-License-Identifier: Apache-2.0
"""OrderAwareTripletLoss: distances, weights and gradient of all triplets of a batch, forward and backward.

`plain` is the loss as people write it, with tensors of (anchors, items, items) and a mask of those that are triplets;
`reference` gathers positives and negatives first, (anchors, positives, negatives).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values

_BITS = 64
_COMPILED = {"cpu": 128, "cuda": 1024}  # batch; compiling takes half a minute, and longer where memory is short
_PLAIN_FITS = {"cpu": 512, "cuda": 1024}  # batch: some fifteen (B, B, B) tensors
_FITS = {"cpu": 20_000_000, "cuda": 200_000_000}  # elements of a (B, P, N) tensor: gigabytes, seconds


def _labels(batch: int, classes: int) -> torch.Tensor:
    """(B,): ten classes at random, or every class four times."""
    if classes == batch // 4:
        return torch.arange(classes).repeat_interleave(4)
    return torch.randint(0, classes, (batch,), generator=torch.Generator().manual_seed(3))


def _triplets(batch: int, classes: int) -> int:
    sizes = _labels(batch, classes).bincount()
    return int((sizes * (sizes - 1) * (batch - sizes)).sum())


def _bank_labels(values: Values) -> torch.Tensor:
    return torch.randint(0, values["classes"], (values["bank"],), generator=torch.Generator().manual_seed(4))


def _bank_triplets(values: Values) -> int:
    sizes = _bank_labels(values).bincount()[_labels(values["batch"], values["classes"])]
    return int((sizes * (values["bank"] - sizes)).sum())


def _case(batch: int, classes: int, **options: Any) -> Case:
    # Distances and their gradient, each written once and read once.
    values = {"batch": batch, "classes": classes, "bits": _BITS}
    return Case(values, 4 * batch * batch * 4, _triplets(batch, classes), **options)


def _cases() -> list[Case]:
    cases = [_case(32, 8, quick=True, devices=("cpu",))]
    for batch in (128, 256, 512, 1024):
        cases += [_case(batch, 10, headline=batch in (256, 1024)), _case(batch, batch // 4)]
    bank = {"batch": 128, "bank": 54_000, "classes": 10, "bits": _BITS}
    triplets = _bank_triplets(bank)
    return [
        *cases,
        _case(2048, 10),
        _case(4096, 100, headline=True),
        Case(bank, 4 * bank["batch"] * bank["bank"] * 4, triplets, headline=True),
    ]


def _step(loss_function: Callable[..., torch.Tensor], values: Values, device: str) -> Call:
    embeddings = normal(values["batch"], _BITS, device=device).tanh().requires_grad_()
    labels = _labels(values["batch"], values["classes"]).to(device)
    bank = []
    if "bank" in values:
        bank = [normal(values["bank"], _BITS, device=device).tanh(), _bank_labels(values).to(device)]

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        loss = loss_function(embeddings, labels, None, *bank)
        return loss.detach(), torch.autograd.grad(loss, embeddings)[0]

    return step


def _loss(backend: str, compile_it: bool = False) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        from fasthash.losses import OrderAwareTripletLoss

        loss = OrderAwareTripletLoss(backend=backend)
        return _step(compiled(loss) if compile_it else loss, values, device)

    return prepare


def _plain(embeddings: Tensor, labels: Tensor, indices_tuple: None = None) -> Tensor:
    items, bits = embeddings.shape
    squares = embeddings.square().sum(1)
    distances = (squares[:, None] + squares - 2 * embeddings @ embeddings.T).clamp(min=0)
    others = ~torch.eye(items, dtype=torch.bool, device=labels.device)
    same = labels[:, None] == labels
    positive, negative = same & others, ~same
    signs = torch.where(embeddings.detach() >= 0, 1.0, -1.0)
    hamming = ((bits - signs @ signs.T) / 2).masked_fill(~others, torch.inf)
    by_distance = distances.detach().argsort(dim=1, stable=True)
    order = by_distance.gather(1, hamming.gather(1, by_distance).argsort(dim=1, stable=True))
    rank = order.argsort(1).float() + 1
    relevant = positive.gather(1, order).float()
    at = order.argsort(1)
    count = relevant.cumsum(1).gather(1, at) - positive.float()
    partial = (relevant / torch.arange(1, items + 1, device=labels.device)).cumsum(1).gather(1, at) - positive / rank
    first, second = partial - count / rank, partial - (count + 1) / rank
    in_order = rank[:, :, None] < rank[:, None, :]
    omega = torch.where(in_order, first[:, None, :] - first[:, :, None], second[:, :, None] - second[:, None, :])
    triplets = positive[:, :, None] & negative[:, None, :]
    omega = omega * triplets
    omega = omega / (omega.sum((1, 2), keepdim=True) / triplets.sum((1, 2), keepdim=True)).clamp(min=1e-30)
    hinge = torch.relu(bits / 4 + 4 + distances[:, :, None] - distances[:, None, :])
    return (omega * hinge.square() * triplets).sum() / triplets.sum()


def _step_plain(values: Values, device: str) -> Call:
    return _step(_plain, values, device)


def _padded_triplets(case: Case) -> int:
    """Elements of the reference's (B, P, N) tensors; it holds some twenty of them."""
    batch, classes = case.values["batch"], case.values["classes"]
    if "bank" in case.values:
        return case.work
    sizes = _labels(batch, classes).bincount()
    return int(batch * (sizes.max() - 1) * (batch - sizes.min()))


BENCHMARKS = [
    Benchmark(
        "order_aware_triplet",
        unit="triplets",
        cases=_cases(),
        libraries={
            "fasthash": Library(_loss("fused"), needs="fasthash.ops:order_aware_triplet"),
            "reference": Library(
                _loss("reference"),
                fits=lambda case, device: _padded_triplets(case) <= _FITS[device],
                slow=lambda case, device: device == "cpu" and _padded_triplets(case) > 5_000_000,
            ),
            "plain": Library(
                _step_plain,
                fits=lambda case, device: "bank" not in case.values and case.values["batch"] <= _PLAIN_FITS[device],
                slow=lambda case, device: device == "cpu" and case.values["batch"] > 128,
            ),
            "compiled": Library(
                _loss("reference", compile_it=True),
                fits=lambda case, device: (
                    _padded_triplets(case) <= _FITS[device] and case.values["batch"] <= _COMPILED[device]
                ),
                slow=lambda case, device: True,
                warm_up=4,
                quick=False,
            ),
        },
        check=lambda output: float(output[0]) + float(output[1].double().abs().sum()),
        tolerance=1e-3,
    )
]


def test_order_aware_triplet(measure):
    measure()
