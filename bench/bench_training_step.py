# SPDX-License-Identifier: Apache-2.0
"""A whole training step on small images, with the loss and without it: what the loss takes of the time.

Forward, backward and the optimizer's step of a network with a hash layer. `fasthash` trains with OrderAwareTripletLoss
and a quantization penalty, `reference` with the same in plain PyTorch, and `no loss` sums up the relaxed codes instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from bench.inputs import normal
from bench.plan import Benchmark, Call, Case, Library, Values

_BITS = 64
_CLASSES = 10
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _case(network: str, batch: int, precision: str, **options: Any) -> Case:
    values = {"network": network, "batch": batch, "bits": _BITS, "classes": _CLASSES, "precision": precision}
    return Case(values, batch * 3 * 32 * 32 * 4, batch, **options)


def _cases() -> list[Case]:
    cases = [_case("conv_small", 16, "float32", quick=True, devices=("cpu",))]
    for batch in (128, 512):
        for precision in _PRECISIONS:
            headline = batch == 128 and precision == "bfloat16"
            cases.append(_case("resnet18", batch, precision, devices=("cuda",), headline=headline))
    return cases


def _order_aware(backend: str) -> Callable[..., torch.Tensor]:
    from fasthash.losses import OrderAwareTripletLoss

    loss_function = OrderAwareTripletLoss(backend=backend)

    def loss(output: Any, labels: torch.Tensor) -> torch.Tensor:
        return loss_function(output.codes, labels) + 0.1 * output.penalty

    return loss


def _no_loss(output: Any, labels: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = output.codes.sum()
    return total


def _step(loss_of: Callable[[], Callable[..., torch.Tensor]], penalty: str | None) -> Callable[[Values, str], Call]:
    def prepare(values: Values, device: str) -> Call:
        from fasthash.models import build_model

        torch.manual_seed(0)
        options = {} if penalty is None else {"penalty": penalty}
        model = build_model(values["network"], _BITS, **options).to(device)
        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)  # each call computes the same
        images = normal(values["batch"], 3, 32, 32, device=device).to(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(3)
        labels = torch.randint(0, _CLASSES, (values["batch"],), generator=generator).to(device)
        dtype = _PRECISIONS[values["precision"]]
        loss_function = loss_of()

        def step() -> torch.Tensor:
            with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                output = model(images)
            loss = loss_function(output, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return loss.detach() * (math.nan if penalty is None else 1)  # without a loss there is none to compare

        return step

    return prepare


BENCHMARKS = [
    Benchmark(
        "training_step",
        unit="images",
        cases=_cases(),
        libraries={
            "fasthash": Library(
                _step(lambda: _order_aware("fused"), "l2"), needs="fasthash.losses:OrderAwareTripletLoss"
            ),
            "reference": Library(_step(lambda: _order_aware("reference"), "l2"), quick=False),
            "no loss": Library(_step(lambda: _no_loss, None)),
        },
        check=float,
        tolerance=1e-2,
    ),
]


def test_training_step(measure):
    measure()
