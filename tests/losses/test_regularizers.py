# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fasthash.losses import (
    BitBalanceLoss,
    BitDecorrelationLoss,
    FakeImageEntropyLoss,
    bit_balance,
    bit_decorrelation,
    fake_image_entropy,
)

FUNCTIONS = {
    "balance": bit_balance,
    "decorrelation": bit_decorrelation,
    "cross_entropy": fake_image_entropy,
    "entropy": lambda logits: fake_image_entropy(logits, "entropy", 1.5),
}
MODULES = {
    "balance": BitBalanceLoss,
    "decorrelation": BitDecorrelationLoss,
    "cross_entropy": FakeImageEntropyLoss,
    "entropy": lambda **options: FakeImageEntropyLoss("entropy", 1.5, **options),
}
EVERY = pytest.mark.parametrize("name", FUNCTIONS)


def values(rows=9, bits=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, bits, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def naive(name, rows):
    bits, count = len(rows[0]), len(rows)
    if name == "balance":
        return sum((sum(row[k] for row in rows) / count) ** 2 for k in range(bits)) / bits
    if name == "decorrelation":
        pairs = [(k, other) for k in range(bits) for other in range(bits) if k != other]
        return sum((sum(row[k] * row[other] for row in rows) / count) ** 2 for k, other in pairs) / len(pairs)
    total = 0.0
    for z in (z for row in rows for z in row):
        p = 1 / (1 + math.exp(-z * (1.5 if name == "entropy" else 1)))
        if name == "entropy":
            total += p * math.log(p) + (1 - p) * math.log(1 - p)
        else:
            total += -0.5 * math.log(p) - 0.5 * math.log(1 - p)
    return total / bits / count


@EVERY
def test_equals_loops_and_differences(name):
    given = values()
    assert FUNCTIONS[name](given).item() == pytest.approx(naive(name, given.tolist()), rel=1e-12)
    assert MODULES[name]()(given) == FUNCTIONS[name](given)
    assert torch.autograd.gradcheck(FUNCTIONS[name], given)
    assert torch.autograd.gradgradcheck(FUNCTIONS[name], given)


@EVERY
def test_half_precisions_and_autocast_are_computed_in_float32(name):
    for dtype in (torch.bfloat16, torch.float16):
        given = values(dtype=dtype)
        found = FUNCTIONS[name](given)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, FUNCTIONS[name](given.detach().float()))
        found.backward()
        assert given.grad.dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        inside = FUNCTIONS[name](values(dtype=torch.float32))
    assert inside == FUNCTIONS[name](values(dtype=torch.float32))


def test_best_and_worst_codes():
    same = torch.ones(8, 4)
    assert (bit_balance(same), bit_decorrelation(same)) == (1, 1)
    every = torch.tensor([[1.0 if i >> k & 1 else -1.0 for k in range(3)] for i in range(8)])
    assert (bit_balance(every), bit_decorrelation(every)) == (0, 0)
    twin = torch.stack([every[:, 0], -every[:, 0]], 1)
    assert (bit_balance(twin), bit_decorrelation(twin)) == (0, 1)
    assert bit_decorrelation(torch.ones(5, 1)) == 0
    assert bit_balance(torch.ones(1, 5)) == 1


def test_entropies_are_least_at_a_half_and_differ_in_their_pull():
    """Oracle: gradients p - 1/2 and p (1 - p) z, 0.493 and 0.033 at z = 5."""
    assert fake_image_entropy(torch.zeros(2, 3)).item() == pytest.approx(math.log(2))
    assert fake_image_entropy(torch.zeros(2, 3), "entropy").item() == pytest.approx(-math.log(2))
    for z, form, expected in ((5.0, "cross_entropy", 0.493), (5.0, "entropy", 0.033), (-5.0, "cross_entropy", -0.493)):
        logit = torch.tensor([[z]], requires_grad=True)
        fake_image_entropy(logit, form).backward()
        assert logit.grad.item() == pytest.approx(expected, abs=5e-4)
    p = torch.sigmoid(torch.tensor(0.7)).item()
    logit = torch.tensor([[0.7]], requires_grad=True)
    fake_image_entropy(logit, "entropy").backward()
    assert logit.grad.item() == pytest.approx(p * (1 - p) * 0.7)


@pytest.mark.parametrize("form", ["cross_entropy", "entropy"])
def test_large_logits_stay_finite(form):
    for dtype in (torch.float32, torch.float16):
        logits = torch.tensor([[6e4, -6e4, 100.0, -100.0]], dtype=dtype, requires_grad=True)
        loss = fake_image_entropy(logits, form)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()
    assert fake_image_entropy(torch.tensor([[300.0]]), form).item() == (150.0 if form == "cross_entropy" else 0.0)


def test_twice_the_sharpness_is_the_entropy_of_tanh_codes():
    logits, sharpness = values(), 1.7
    p = (1 + torch.tanh(sharpness * logits)) / 2
    expected = -(p.log() + (1 - p).log()).mean() / 2
    torch.testing.assert_close(FakeImageEntropyLoss(scale=2 * sharpness)(logits), expected)


@EVERY
def test_a_few_steps_lower_it(name):
    torch.manual_seed(0)
    layer, images = nn.Linear(16, 8), torch.randn(64, 16) + 1
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    seen = []
    for _ in range(60):
        logits = layer(images)
        loss = MODULES[name]()(logits if "entropy" in name else logits.tanh())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    floor = {"balance": 0.0, "decorrelation": 0.0, "cross_entropy": math.log(2), "entropy": -math.log(2)}[name]
    assert seen[-1] - floor < 0.25 * (seen[0] - floor)


@EVERY
def test_what_is_refused(name):
    loss, given = MODULES[name](), values()
    with pytest.raises(ValueError, match="ref_emb must be None, nothing is compared"):
        loss(given, None, None, given)
    with pytest.raises(ValueError, match="ref_labels must be None"):
        loss(given, None, None, None, torch.zeros(9))
    with pytest.raises(ValueError, match="embeddings must be of shape"):
        loss(given[0])
    with torch.no_grad():
        given[1, 2] = math.nan
    with pytest.raises(ValueError, match="embeddings must be finite, got 1 NaN and 0 infinite values"):
        loss(given)
    assert MODULES[name](check_finite=False)(given).isnan()


def test_bad_options():
    with pytest.raises(ValueError, match="form must be one of 'cross_entropy', 'entropy', got 'max'"):
        FakeImageEntropyLoss("max")
    with pytest.raises(ValueError, match="form must be one of"):
        fake_image_entropy(values(), "max")
    with pytest.raises(ValueError, match="scale must be a finite number > 0, got 0"):
        FakeImageEntropyLoss(scale=0)
