# SPDX-License-Identifier: Apache-2.0
"""Triplet losses over all and over semi-hard triplets of a batch, forward and backward through the public loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values

_BITS = 64
_MARGIN = 0.2
_COMPILED = {"cpu": 256, "cuda": 1024}  # batch: the reference holds (B, B, B) tensors, some 5 at a time when compiled
_FITS = {"cpu": 256, "cuda": 512}
_PEER = {"cpu": 1024, "cuda": 1024}  # beyond, pytorch-metric-learning needs 30 GB, sentence-transformers minutes

Loss = Callable[[Tensor, Tensor], Tensor]


def _labels(batch: int, classes: int) -> Tensor:
    """(B,): ten classes at random, or every class four times."""
    if classes == batch // 4:
        return torch.arange(classes).repeat_interleave(4)
    return torch.randint(0, classes, (batch,), generator=torch.Generator().manual_seed(3))


def _pairs(batch: int, classes: int) -> Tensor:
    sizes = _labels(batch, classes).bincount()
    return sizes * (sizes - 1)


def _case(mining: str, batch: int, classes: int, **options: Any) -> Case:
    # Distances and their gradient, each written once and read once.
    sizes = _labels(batch, classes).bincount()
    work = _pairs(batch, classes) * (batch - sizes if mining == "all" else 1)
    values = {"batch": batch, "classes": classes, "bits": _BITS}
    return Case(values, 4 * batch * batch * 4, int(work.sum()), **options)


def _cases(mining: str) -> list[Case]:
    cases = [_case(mining, 32, 8, quick=True, devices=("cpu",))]
    for batch in (256, 512, 1024, 2048):
        cases += [_case(mining, batch, 10, headline=batch in (256, 1024)), _case(mining, batch, batch // 4)]
    return cases


def _step(loss_function: Loss, values: Values, device: str) -> Call:
    embeddings = normal(values["batch"], _BITS, device=device).requires_grad_()
    labels = _labels(values["batch"], values["classes"]).to(device)

    def step() -> tuple[Tensor, Tensor]:
        loss = loss_function(embeddings, labels)
        return loss.detach(), torch.autograd.grad(loss, embeddings)[0]

    return step


def _ours(mining: str, backend: str) -> nn.Module:
    from fasthash.losses import TripletMarginLoss, TripletSemiHardLoss

    kind = TripletMarginLoss if mining == "all" else TripletSemiHardLoss
    return kind(_MARGIN, backend=backend)


def _loss(mining: str, backend: str, compile_it: bool = False) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        loss = _ours(mining, backend)
        return _step(compiled(loss) if compile_it else loss, values, device)

    return prepare


def _metric_learning(values: Values, device: str) -> Call:
    from pytorch_metric_learning.losses import TripletMarginLoss

    return _step(TripletMarginLoss(_MARGIN), values, device)


def _sentence_transformers(name: str) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from sentence_transformers import losses

        loss: Any = getattr(losses, name)(None, margin=_MARGIN)

        def function(embeddings: Tensor, labels: Tensor) -> Tensor:
            unit = nn.functional.normalize(embeddings)
            value: Tensor = loss.compute_loss_from_embeddings([unit], labels)
            return value

        return _step(function, values, device)

    return prepare


class _SortedHinges(torch.autograd.Function):
    """All hinges of sorted rows by searching: what PyTorch can do without a kernel of its own.

    Positives and negatives of each row are sorted, and a slope is how many of the other side stand before.
    """

    @staticmethod
    def forward(ctx: Any, distances: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        reach = torch.where(positive, distances + _MARGIN, -torch.inf)
        away = torch.where(negative, distances, torch.inf)
        closer = torch.searchsorted(away.sort(1).values, reach)  # negatives within reach of a positive
        behind = len(distances) - torch.searchsorted(reach.sort(1).values, away, right=True)
        slopes = torch.where(positive, closer, 0) - torch.where(negative, behind, 0)
        count = torch.where(positive, closer, 0).sum()
        slopes = slopes.to(distances.dtype) / count.clamp(min=1)
        ctx.save_for_backward(slopes)
        return torch.dot(slopes.flatten(), distances.flatten()) + _MARGIN * (count > 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return grad * slopes, None, None


def _distances(embeddings: Tensor) -> Tensor:
    unit = nn.functional.normalize(embeddings)
    square = (2 - 2 * unit @ unit.T).clamp(min=0)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def _sorted_hinges(embeddings: Tensor, labels: Tensor) -> Tensor:
    alike = labels.unsqueeze(1) == labels
    positive = alike & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    loss: Tensor = _SortedHinges.apply(_distances(embeddings), positive, ~alike)  # type: ignore[no-untyped-call]
    return loss


def _fits(limits: dict[str, int]) -> Callable[[Case, str], bool]:
    return lambda case, device: case.values["batch"] <= limits[device]


def _long(case: Case, device: str) -> bool:
    """Whether B^3 tensors take seconds."""
    return device == "cpu" and case.values["batch"] > 256


def _libraries(mining: str) -> dict[str, Library]:
    libraries = {
        "fasthash": Library(_loss(mining, "fused"), needs="fasthash.ops:triplet_margin"),
        "reference": Library(_loss(mining, "reference"), fits=_fits(_FITS)),
        "compiled": Library(
            _loss(mining, "reference", compile_it=True),
            fits=_fits(_COMPILED),
            slow=lambda case, device: True,
            warm_up=4,
            quick=False,
        ),
    }
    if mining == "semi_hard":
        name = "BatchSemiHardTripletLoss"
        peer = Library(_sentence_transformers(name), needs=f"sentence_transformers.losses:{name}")
        return {**libraries, "sentence_transformers": peer}
    name = "BatchAllTripletLoss"
    peer = Library(
        _sentence_transformers(name), needs=f"sentence_transformers.losses:{name}", fits=_fits(_PEER), slow=_long
    )
    theirs = Library(
        _metric_learning, needs="pytorch_metric_learning.losses:TripletMarginLoss", fits=_fits(_PEER), slow=_long
    )
    sorting = Library(lambda values, device: _step(_sorted_hinges, values, device))
    return {**libraries, "sorting": sorting, "metric_learning": theirs, "sentence_transformers": peer}


def _benchmark(name: str, mining: str) -> Benchmark:
    return Benchmark(
        name,
        unit="triplets",
        cases=_cases(mining),
        libraries=_libraries(mining),
        check=lambda output: float(output[0]) + float(output[1].double().abs().sum()),
        tolerance=1e-3,
    )


BENCHMARKS = [_benchmark("triplet_margin", "all"), _benchmark("triplet_semi_hard", "semi_hard")]


def test_triplet_margin(measure):
    measure()


def test_triplet_semi_hard(measure):
    measure()
