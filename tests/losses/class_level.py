# SPDX-License-Identifier: Apache-2.0
"""Every class-level loss, and its formula as loops over numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import torch
from torch import Tensor, nn

from fasthash.losses import (
    CosFaceLoss,
    CSQLoss,
    DCWHLoss,
    DDHLoss,
    GreedyHashLoss,
    OrthoHashLoss,
    SoftmaxHashLoss,
    VonMisesFisherLoss,
)

CLASSES, BITS = 7, 6

MAKERS: dict[str, Callable[..., nn.Module]] = {
    "softmax": lambda **kw: SoftmaxHashLoss(CLASSES, BITS, 0.7, **kw),
    "softmax_normalized": lambda **kw: SoftmaxHashLoss(CLASSES, BITS, 0.2, normalize=True, **kw),
    "cosface": lambda **kw: CosFaceLoss(CLASSES, BITS, 0.3, 5.0, **kw),
    "dcwh": lambda **kw: DCWHLoss(CLASSES, BITS, variance=0.8, vertex_weight=0.3, **kw),
    "dcwh_establish": lambda **kw: DCWHLoss(CLASSES, BITS, stage="establish", **kw),
    "dcwh_refine": lambda **kw: DCWHLoss(CLASSES, BITS, stage="refine", update="gradient", vertex_weight=0.3, **kw),
    "vmf": lambda **kw: VonMisesFisherLoss(CLASSES, BITS, **kw),
    "vmf_shared": lambda **kw: VonMisesFisherLoss(
        CLASSES, BITS, 4.0, learn_kappa="shared", likelihood_weight=0.2, **kw
    ),
    "vmf_class": lambda **kw: vary_kappa(VonMisesFisherLoss(CLASSES, BITS, 6.0, learn_kappa="class", **kw)),
    "greedy": lambda **kw: GreedyHashLoss(CLASSES, BITS, 0.4, **kw),
    "csq": lambda **kw: CSQLoss(CLASSES, BITS, 0.2, **kw),
    "csq_logits": lambda **kw: CSQLoss(CLASSES, BITS, 0.2, inputs="logits", **kw),
    "ortho": lambda **kw: OrthoHashLoss(CLASSES, BITS, **kw),
    "ortho_angle": lambda **kw: OrthoHashLoss(CLASSES, BITS, 0.3, margin_type="angle", codebook="gaussian", **kw),
    "ddh": lambda **kw: DDHLoss(CLASSES, BITS, 0.3, **kw),
}


def vary_kappa(loss: VonMisesFisherLoss) -> VonMisesFisherLoss:
    """Concentrations that differ, so that the normalisers matter."""
    with torch.no_grad():
        loss.log_kappa += torch.linspace(-1, 1, CLASSES)
    return loss


def make(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(3)
    return MAKERS[name](**options)


def batch(rows: int = 9, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings in (-1, 1) with a gradient, and ids that leave out some of the classes."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(rows, BITS, generator=generator).tanh().to(dtype).requires_grad_()
    return embeddings, torch.randint(0, CLASSES - 2, (rows,), generator=generator)


def multi_hot(rows: int = 9, seed: int = 0) -> Tensor:
    """(rows, C) of 0 and 1; the second row has no label."""
    labels = (torch.rand(rows, CLASSES, generator=torch.Generator().manual_seed(seed)) < 0.35).long()
    labels[0, 2] = 1
    labels[1] = 0
    return labels


def naive(name: str, loss: Any, embeddings: Tensor, labels: Tensor) -> float:
    """The loss of a batch by loops over float64 numbers; labels are ids or multi-hot rows."""
    rows = embeddings.detach().double().tolist()
    sets = [
        [int(label)] if labels.dim() == 1 else [c for c in range(CLASSES) if label[c] > 0]
        for label in (labels if labels.dim() == 2 else labels.tolist())
    ]
    number = max(1, sum(1 for each in sets if each))
    total = 0.0
    for x, chosen in zip(rows, sets, strict=True):
        if name == "greedy" and labels.dim() == 2:
            total += _binary(loss, x, chosen) / len(rows)
        elif chosen:
            total += _TERMS[name.split("_")[0]](loss, x, chosen) / number
    return total + _over_all_rows(name, loss, rows)


def _over_all_rows(name: str, loss: Any, rows: list[list[float]]) -> float:
    total = 0.0
    for x in rows:
        for value in x:
            gap = abs(abs(value) - 1)
            if name in ("dcwh", "dcwh_establish"):
                total += loss.cube_weight * max(0.0, abs(value) - loss.cube) / len(rows)
            if name in ("dcwh", "dcwh_refine"):
                total += loss.vertex_weight * gap**2 / len(rows)
            if name == "greedy":
                total += loss.penalty_weight * gap**3 / len(rows) / len(x)
            if name == "ddh":
                total += loss.penalty_weight * gap / len(rows) / len(x)
    return total


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _unit(a: list[float]) -> list[float]:
    return [x / math.sqrt(_dot(a, a)) for x in a]


def _cross_entropy(logits: list[float], chosen: list[int]) -> float:
    norm = math.log(sum(math.exp(each) for each in logits))
    return sum(norm - logits[c] for c in chosen) / len(chosen)


def _numbers(tensor: Tensor) -> Any:
    return tensor.detach().double().tolist()


def _softmax(loss: Any, x: list[float], chosen: list[int]) -> float:
    rows = _numbers(loss.weight)
    if loss.rule.normalize_weights:
        return _cross_entropy([loss.rule.scale * _dot(_unit(x), _unit(w)) for w in rows], chosen)
    logits = [loss.rule.scale * _dot(x, w) + b for w, b in zip(rows, _numbers(loss.bias), strict=True)]
    return _cross_entropy(logits, chosen)


def _cosface(loss: Any, x: list[float], chosen: list[int]) -> float:
    cosines = [_dot(_unit(x), _unit(w)) for w in _numbers(loss.weight)]
    return _cross_entropy([5.0 * (cos - 0.3 * (c in chosen)) for c, cos in enumerate(cosines)], chosen)


def _dcwh(loss: Any, x: list[float], chosen: list[int]) -> float:
    variance = 1 / loss.rule.scale
    logits = [-sum((a - b) ** 2 for a, b in zip(x, mu, strict=True)) / (2 * variance) for mu in _numbers(loss.centers)]
    return _cross_entropy(logits, chosen)


def log_normalizer(kappa: float) -> float:
    v = BITS / 2 - 1
    bessel = mpmath.besseli(v, kappa)
    return float(v * mpmath.log(kappa) - BITS / 2 * mpmath.log(2 * mpmath.pi) - mpmath.log(bessel))


def _vmf(loss: Any, x: list[float], chosen: list[int]) -> float:
    kappas = _numbers(loss.kappa.expand(CLASSES))
    densities = [
        log_normalizer(kappa) + kappa * _dot(_unit(x), mu)
        for kappa, mu in zip(kappas, _numbers(loss.centers), strict=True)
    ]
    likelihood = sum(-densities[c] for c in chosen) / len(chosen)
    return _cross_entropy(densities, chosen) + loss.likelihood_weight * likelihood


def _greedy(loss: Any, x: list[float], chosen: list[int]) -> float:
    signs = [1.0 if value >= 0 else -1.0 for value in x]
    return _cross_entropy([_dot(signs, w) for w in _numbers(loss.weight)], chosen)


def _binary(loss: Any, x: list[float], chosen: list[int]) -> float:
    signs = [1.0 if value >= 0 else -1.0 for value in x]
    total = 0.0
    for c, w in enumerate(_numbers(loss.weight)):
        score = _dot(signs, w)
        total += math.log1p(math.exp(-score if c in chosen else score))
    return total / CLASSES


def _csq(loss: Any, x: list[float], chosen: list[int]) -> float:
    centers, coins = _numbers(loss.centers), _numbers(loss.tie_breaker)
    total = 0.0
    for k, value in enumerate(x):
        votes = sum(centers[c][k] for c in chosen)
        center = coins[k] if votes == 0 else math.copysign(1.0, votes)
        h = math.tanh(value) if loss.inputs == "logits" else value
        total += -math.log((1 + center * h) / 2) + loss.penalty_weight * (abs(h) - 1) ** 2
    return total / len(x)


def _ortho(loss: Any, x: list[float], chosen: list[int]) -> float:
    logits = []
    for c, code in enumerate(_numbers(loss.codebook)):
        cosine = _dot(_unit(x), _unit(code))
        if c in chosen:
            angle = math.acos(cosine) + loss.margin
            cosine = math.cos(angle) if loss.rule.angular else cosine - loss.margin
        logits.append(8.0 * cosine)
    return _cross_entropy(logits, chosen)


_TERMS = {
    "softmax": _softmax,
    "cosface": _cosface,
    "dcwh": _dcwh,
    "vmf": _vmf,
    "greedy": _greedy,
    "csq": _csq,
    "ortho": _ortho,
    "ddh": _softmax,
}
