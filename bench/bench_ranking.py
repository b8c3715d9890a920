# SPDX-License-Identifier: Apache-2.0
"""Ranking, quantization and regularising losses over a batch, forward and backward through the public loss.

`eager` is the formula as people write it: for the first two losses all shares (B, B, L + 1) and all bits of all pairs
(B, B, K), which is their reference; `compiled` is that by torch.compile. The regularisers are a few passes of PyTorch
in fasthash too: what they cost is shown, not what is won.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.inputs import compiled, normal
from bench.plan import Benchmark, Call, Case, Library, Values

_BITS = 64
_CLASSES = 10
_FITS = {"cpu": 1024, "cuda": 2048}  # batch: the references hold some ten (B, B, 33) or (B, B, 64) tensors
_COMPILED = {"cpu": 512, "cuda": 2048}

Loss = Callable[[Tensor, Tensor], Tensor]


def _case(batch: int, work: int, **values: Any) -> Case:
    options = {name: values.pop(name) for name in ("quick", "headline", "devices") if name in values}
    return Case({**values, "batch": batch, "bits": _BITS}, 2 * 4 * batch * _BITS + 8 * batch, work, **options)


def _cases(name: str, kinds: tuple[str, ...], headline: str) -> list[Case]:
    """A small one, and three sizes of each kind; the work is the batch's ordered pairs."""
    cases = [_case(32, 32 * 31, quick=True, devices=("cpu",), **{name: kind}) for kind in kinds]
    for kind in kinds:
        for batch in (128, 512, 2048):
            values = {name: kind, "headline": kind == headline and batch == 512}
            cases.append(_case(batch, batch * (batch - 1), **values))
    return cases


def _data(values: Values, device: str) -> tuple[Tensor, Tensor]:
    batch = values["batch"]
    embeddings = normal(batch, _BITS, device=device).tanh().requires_grad_()
    generator = torch.Generator().manual_seed(3)
    if values.get("labels") == "multi-hot":
        labels = (torch.rand(batch, _CLASSES, generator=generator) < 0.2).long()
    else:
        labels = torch.randint(0, _CLASSES, (batch,), generator=generator)
    return embeddings, labels.to(device)


def _step(loss_function: Loss, values: Values, device: str) -> Call:
    embeddings, labels = _data(values, device)

    def step() -> tuple[Tensor, Tensor]:
        loss = loss_function(embeddings, labels)
        return loss.detach(), torch.autograd.grad(loss, embeddings)[0]

    return step


def _ranking(values: Values, **options: Any) -> nn.Module:
    from fasthash.losses import TieAwareRankingLoss

    return TieAwareRankingLoss(values["metric"], **options)


def _quantization(values: Values, **options: Any) -> nn.Module:
    from fasthash.losses import ErrorAwareQuantizationLoss

    return ErrorAwareQuantizationLoss(**options)


def _regularizer(values: Values) -> nn.Module:
    from fasthash import losses

    kind = {
        "bit_balance": losses.BitBalanceLoss,
        "bit_decorrelation": losses.BitDecorrelationLoss,
        "fake_image_entropy": losses.FakeImageEntropyLoss,
    }[values["loss"]]
    loss: nn.Module = kind()
    return loss


def _bit_balance(x: Tensor) -> Tensor:
    return x.mean(0).square().mean()


def _bit_decorrelation(x: Tensor) -> Tensor:
    products = x.T @ x / len(x)
    off = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    return products[off].square().mean()


def _fake_image_entropy(x: Tensor) -> Tensor:
    return (-(functional.logsigmoid(x) + functional.logsigmoid(-x)) / 2).mean()


_FORMULAS = {
    "bit_balance": _bit_balance,
    "bit_decorrelation": _bit_decorrelation,
    "fake_image_entropy": _fake_image_entropy,
}


def _written(values: Values) -> Loss:
    formula = _FORMULAS[values["loss"]]
    return lambda embeddings, labels: formula(embeddings)


def _prepared(make: Callable[[Values], Loss], compile_it: bool = False) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        loss = make(values)
        return _step(compiled(loss) if compile_it else loss, values, device)

    return prepare


def _up_to(limits: dict[str, int]) -> Callable[[Case, str], bool]:
    return lambda case, device: case.values["batch"] <= limits[device]


def _patient(case: Case, device: str) -> bool:
    return device == "cpu" and case.values["batch"] > 256


def _libraries(make: Callable[..., Loss], needs: str) -> dict[str, Library]:
    def eager(values: Values) -> Loss:
        return make(values, backend="reference")

    return {
        "fasthash": Library(_prepared(make), needs=f"fasthash.losses:{needs}"),
        "eager": Library(_prepared(eager), fits=_up_to(_FITS), slow=_patient),
        "compiled": Library(
            _prepared(eager, compile_it=True), fits=_up_to(_COMPILED), slow=_patient, warm_up=4, quick=False
        ),
    }


def _check(output: tuple[Tensor, Tensor]) -> float:
    return float(output[0]) + float(output[1].double().abs().sum())


def _benchmark(name: str, unit: str, cases: list[Case], libraries: dict[str, Library]) -> Benchmark:
    return Benchmark(name, unit=unit, cases=cases, libraries=libraries, check=_check, tolerance=1e-3)


def _regularizer_cases() -> list[Case]:
    return [
        _case(batch, batch * _BITS, loss=loss, quick=batch == 128, headline=batch == 128)
        for loss in _FORMULAS
        for batch in (128, 2048)
    ]


BENCHMARKS = [
    _benchmark(
        "tie_aware_ranking",
        "pairs",
        _cases("metric", ("ap", "ndcg"), "ap"),
        _libraries(_ranking, "TieAwareRankingLoss"),
    ),
    _benchmark(
        "error_aware_quantization",
        "pairs",
        _cases("labels", ("ids", "multi-hot"), "ids"),
        _libraries(_quantization, "ErrorAwareQuantizationLoss"),
    ),
    _benchmark(
        "regularizers",
        "elements",
        _regularizer_cases(),
        {
            "fasthash": Library(_prepared(_regularizer), needs="fasthash.losses:BitBalanceLoss"),
            "eager": Library(_prepared(_written)),
            "compiled": Library(_prepared(_written, compile_it=True), warm_up=4, quick=False),
        },
    ),
]


def test_tie_aware_ranking(measure):
    measure()


def test_error_aware_quantization(measure):
    measure()


def test_regularizers(measure):
    measure()
