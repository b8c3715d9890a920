# SPDX-License-Identifier: Apache-2.0
"""Losses over classes, forward and backward, beside their formulas as people write them and pytorch-metric-learning.

Gradients are those of the embeddings and of what the loss learns. ArcFace is another function than CosFace, of the same
kind: only its time is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values

_BATCH, _BITS = 128, 64
_CLASSES = (10, 100, 1000, 10_000)

_PEERS = {
    "softmax_normalized": {"metric_learning": "NormalizedSoftmaxLoss"},
    "cosface": {"metric_learning": "CosFaceLoss", "arcface": "ArcFaceLoss"},
}

Formula = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _case(classes: int) -> Case:
    moved = 4 * 2 * (_BATCH + classes) * _BITS  # embeddings and class rows, read; their gradients, written
    values = {"batch": _BATCH, "bits": _BITS, "classes": classes}
    return Case(values, moved, _BATCH * classes, quick=classes == 10, headline=classes in (100, 10_000))


def _ours(name: str, classes: int, backend: str = "fused") -> nn.Module:
    from fasthash import losses

    torch.manual_seed(0)
    options: dict[str, Any] = {"backend": backend}
    if name == "softmax_normalized":
        return losses.SoftmaxHashLoss(classes, _BITS, 0.05, normalize=True, **options)
    kind = {
        "softmax": losses.SoftmaxHashLoss,
        "cosface": losses.CosFaceLoss,
        "dcwh": losses.DCWHLoss,
        "von_mises_fisher": losses.VonMisesFisherLoss,
        "greedy_hash": losses.GreedyHashLoss,
        "csq": losses.CSQLoss,
        "ortho_hash": losses.OrthoHashLoss,
        "ddh": losses.DDHLoss,
    }[name]
    loss: nn.Module = kind(classes, _BITS, **options)
    return loss


def _theirs(name: str, classes: int) -> nn.Module:
    from pytorch_metric_learning import losses

    torch.manual_seed(0)
    own = _ours("cosface" if name == "CosFaceLoss" else "softmax_normalized", classes)
    kind = getattr(losses, name)
    options = {"temperature": 0.05} if name == "NormalizedSoftmaxLoss" else {}
    loss: nn.Module = kind(classes, _BITS, **options)
    with torch.no_grad():
        loss.W.copy_(own.weight.T)
    return loss


def _cosines(embeddings: Tensor, rows: Tensor) -> Tensor:
    return functional.normalize(embeddings) @ functional.normalize(rows).T


def _one_hot(loss: Any, labels: Tensor) -> Tensor:
    return functional.one_hot(labels, loss.num_classes)


def _softmax(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(x, loss.weight, loss.bias), y)


def _softmax_normalized(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(_cosines(x, loss.weight) / 0.05, y)


def _cosface(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(64 * (_cosines(x, loss.weight) - 0.35 * _one_hot(loss, y)), y)


def _dcwh(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    gaussian = functional.cross_entropy(-0.5 * torch.cdist(x, loss.centers).square(), y)
    cube = (functional.relu(-1.1 - x) + functional.relu(x - 1.1)).sum(1).mean()
    return gaussian + 10 * cube + 0.01 * (x.sign() - x).square().sum(1).mean()


def _von_mises_fisher(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(15 * (functional.normalize(x) @ loss.centers.T), y)


def _greedy_hash(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    codes = x + (x.sign() - x).detach()
    return functional.cross_entropy(functional.linear(codes, loss.weight), y) + 0.1 * (x.abs() - 1).abs().pow(3).mean()


def _csq(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy(0.5 * (x + 1), 0.5 * (loss.centers[y] + 1))
    return entropy + 1e-4 * (x.abs() - 1).square().mean()


def _ortho_hash(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    cosines = functional.normalize(x) @ (loss.codebook.T / _BITS**0.5)
    return functional.cross_entropy(8 * (cosines - 0.2 * _one_hot(loss, y)), y)


def _ddh(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    return _softmax(loss, x, y) + 0.01 * (x.abs() - 1).abs().mean()


def _steps(function: Callable[[Tensor, Tensor], Tensor], learned: list[Tensor], values: Values, device: str) -> Call:
    embeddings = normal(_BATCH, _BITS, device=device).mul(0.7).tanh().requires_grad_()
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, values["classes"], (_BATCH,), generator=generator).to(device)
    inputs = [embeddings, *learned]

    def step() -> tuple[Tensor, Tensor]:
        loss = function(embeddings, labels)
        return loss.detach(), torch.autograd.grad(loss, inputs)[0]

    return step


def _fasthash(name: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        loss = _ours(name, values["classes"]).to(device)
        return _steps(loss, list(loss.parameters()), values, device)

    return prepare


def _formula(name: str, formula: Formula, compile_it: bool = False) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        loss = _ours(name, values["classes"]).to(device)

        def function(embeddings: Tensor, labels: Tensor) -> Tensor:
            return formula(loss, embeddings, labels)

        run = compiled(function) if compile_it else function
        return _steps(run, list(loss.parameters()), values, device)

    return prepare


def _metric_learning(name: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        loss = _theirs(name, values["classes"]).to(device)
        step = _steps(loss, list(loss.parameters()), values, device)

        def without_value() -> tuple[Tensor, Tensor]:
            value, gradient = step()
            return value * math.nan, gradient

        return without_value if name == "ArcFaceLoss" else step

    return prepare


def _benchmark(name: str, formula: Formula) -> Benchmark:
    libraries = {
        "fasthash": Library(_fasthash(name), needs="fasthash.losses:SoftmaxHashLoss"),
        "eager": Library(_formula(name, formula)),
        "compiled": Library(_formula(name, formula, compile_it=True), warm_up=4, quick=False),
    }
    for peer, kind in _PEERS.get(name, {}).items():
        libraries[peer] = Library(_metric_learning(kind), needs=f"pytorch_metric_learning.losses:{kind}")
    return Benchmark(
        f"class_{name}",
        unit="logits",
        cases=[_case(classes) for classes in _CLASSES],
        libraries=libraries,
        check=lambda output: float(output[0]) + float(output[1].double().abs().sum()),
        tolerance=1e-3,
    )


_FORMULAS: dict[str, Formula] = {
    "softmax": _softmax,
    "softmax_normalized": _softmax_normalized,
    "cosface": _cosface,
    "dcwh": _dcwh,
    "von_mises_fisher": _von_mises_fisher,
    "greedy_hash": _greedy_hash,
    "csq": _csq,
    "ortho_hash": _ortho_hash,
    "ddh": _ddh,
}

BENCHMARKS = [_benchmark(name, formula) for name, formula in _FORMULAS.items()]


def test_class_softmax(measure):
    measure()


def test_class_softmax_normalized(measure):
    measure()


def test_class_cosface(measure):
    measure()


def test_class_dcwh(measure):
    measure()


def test_class_von_mises_fisher(measure):
    measure()


def test_class_greedy_hash(measure):
    measure()


def test_class_csq(measure):
    measure()


def test_class_ortho_hash(measure):
    measure()


def test_class_ddh(measure):
    measure()
