# SPDX-License-Identifier: Apache-2.0
"""Losses over pairs, a batch of 128 against a bank: forward and backward, beside the formulas as published.

`published` multiplies one-hot labels for similarities, holds all pairs (and for DSH every difference, (A, M, K)) and
leaves the gradient to autograd. `reference` is the loss in plain PyTorch, `compiled` that by torch.compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values

_BITS = 64
_ANCHORS = 128


def _case(loss: str, items: int, classes: int, **options: Any) -> Case:
    values = {"loss": loss, "batch": _ANCHORS, "bank": items, "bits": _BITS, "classes": classes}
    return Case(values, (_ANCHORS + items) * (_BITS * 4 + 8), _ANCHORS * items, **options)


def _cases() -> list[Case]:
    cases = [_case("dpsh", 300, 10, quick=True, devices=("cpu",))]
    for loss in ("dpsh", "hashnet", "dch", "dsh"):
        cases += [_case(loss, 10_000, classes, headline=loss == "dpsh") for classes in (10, 100)]
    return cases


def _data(values: Values, device: str) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    sides = []
    for seed, rows in ((1, values["batch"]), (2, values["bank"])):
        labels = torch.randint(0, values["classes"], (rows,), generator=generator).to(device)
        sides += [normal(rows, _BITS, device=device, seed=seed).tanh(), labels]
    return tuple(sides)


def _step(loss_function: Callable[..., Tensor], values: Values, device: str) -> Call:
    embeddings, labels, bank, bank_labels = _data(values, device)
    embeddings.requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        loss = loss_function(embeddings, labels, ref_emb=bank, ref_labels=bank_labels)
        return loss.detach(), torch.autograd.grad(loss, embeddings)[0]

    return step


def _loss(backend: str, compile_it: bool = False) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        from fasthash.losses import DCHLoss, DPSHLoss, DSHLoss, HashNetLoss

        loss = {"dpsh": DPSHLoss, "hashnet": HashNetLoss, "dch": DCHLoss, "dsh": DSHLoss}[values["loss"]](
            backend=backend
        )
        return _step(compiled(loss) if compile_it else loss, values, device)

    return prepare


def _likelihood(scores: Tensor, similar: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(-scores.abs())) + scores.clamp(min=0) - similar * scores


def _balance(similar: Tensor) -> Tensor:
    ones = similar > 0
    weights = torch.ones_like(similar)
    weights[ones] = similar.numel() / ones.sum()
    weights[~ones] = similar.numel() / (~ones).sum()
    return weights


def _published(values: Values, device: str) -> Call:
    classes, kind, bits = values["classes"], values["loss"], values["bits"]

    def loss(embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor) -> Tensor:
        hot, all_hot = functional.one_hot(labels, classes).float(), functional.one_hot(ref_labels, classes).float()
        similar = (hot @ all_hot.T > 0).float()
        if kind == "dpsh":
            pairs = _likelihood(embeddings @ ref_emb.T * 0.5, similar).mean()
            return pairs + 0.1 * (embeddings - embeddings.sign()).pow(2).mean()
        if kind == "hashnet":
            scores = embeddings @ ref_emb.T * (10 / bits)
            return (_balance(similar) * _likelihood(scores, similar)).mean()
        if kind == "dch":
            cosines = functional.normalize(embeddings) @ functional.normalize(ref_emb).T
            far = functional.relu(1 - cosines.clamp(max=0.99)) * bits / 2
            cauchy = similar * torch.log(far / 20) + torch.log(1 + 20 / far)
            own = functional.cosine_similarity(embeddings.abs(), torch.ones_like(embeddings)).clamp(max=0.99)
            return (_balance(similar) * cauchy).mean() + 0.1 * torch.log(1 + (1 - own) * bits / 2 / 20).mean()
        far = (embeddings.unsqueeze(1) - ref_emb.unsqueeze(0)).pow(2).sum(2)
        pairs = (similar * far / 2 + (1 - similar) * (2 * bits - far).clamp(min=0) / 2).mean()
        sides = sum((side.abs() - 1).abs().sum(1).mean() for side in (embeddings, ref_emb))
        return pairs + 0.01 * sides

    return _step(loss, values, device)


def _check(output: tuple[Tensor, Tensor]) -> float:
    return float(output[0])


def _patient(case: Case, device: str) -> bool:
    return case.values["loss"] == "dsh" and device == "cpu"


BENCHMARKS = [
    Benchmark(
        "pairwise_loss",
        unit="pairs",
        cases=_cases(),
        libraries={
            "fasthash": Library(_loss("fused"), needs="fasthash.losses:DPSHLoss"),
            "reference": Library(_loss("reference")),
            "compiled": Library(_loss("reference", compile_it=True), quick=False),
            "published": Library(_published, slow=_patient),
        },
        check=_check,
        tolerance=2e-3,
    ),
]


def test_pairwise_loss(measure):
    measure()
