# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from fasthash import reference

RULES = [
    {},
    {"scale": 3.0, "margin": 0.25},
    {"scale": 3.0, "margin": 0.4, "angular": True, "normalize_embeddings": True, "normalize_weights": True},
    {"binary": True, "scale": 0.5},
    {"l1": 0.3, "l2": 0.2, "cubic": 0.1, "outside": 0.7, "edge": 0.8},
]


def unit(row):
    length = math.sqrt(sum(each * each for each in row))
    return [each / length for each in row]


def product(x, w, *, binary=False, normalize_embeddings=False, normalize_weights=False, **_):
    x = [1.0 if each >= 0 else -1.0 for each in x] if binary else x
    x, w = unit(x) if normalize_embeddings else x, unit(w) if normalize_weights else w
    return sum(p * q for p, q in zip(x, w, strict=True))


def row_loss(x, weights, bias, target, *, scale=1.0, margin=0.0, angular=False, **rule):
    logits = []
    for c, w in enumerate(weights):
        p = product(x, w, **rule)
        if c == target:
            p = math.cos(math.acos(p) + margin) if angular else p - margin
        logits.append(scale * p + bias[c])
    return math.log(sum(math.exp(z) for z in logits)) - logits[target]


def element_penalty(x, *, l1=0.0, l2=0.0, cubic=0.0, outside=0.0, edge=1.0, **_):
    gap = abs(x) - 1
    return l1 * abs(gap) + l2 * gap**2 + cubic * abs(gap) ** 3 + outside * max(0.0, abs(x) - edge)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("factors", [None, [0.5, 0.0, 2.0, 1.0]])
def test_equals_loops(rule, factors):
    generator = torch.Generator().manual_seed(4)
    x, w = (torch.randn(rows, 6, dtype=torch.float64, generator=generator) for rows in (4, 3))
    bias = None if rule.get("angular") else torch.randn(3, dtype=torch.float64, generator=generator)
    targets = [0, 2, 2, 1]
    share = None if factors is None else torch.tensor(factors, dtype=torch.float64)
    found = reference.class_softmax(x, w, torch.tensor(targets), bias, share, **rule)
    shifts = [0.0] * 3 if bias is None else bias.tolist()
    total = 0.0
    for row, target, f in zip(x.tolist(), targets, factors or [0.25] * 4, strict=True):
        total += f * row_loss(row, w.tolist(), shifts, target, **rule)
        total += sum(element_penalty(each, **rule) for each in row)
    assert found.item() == pytest.approx(total, rel=1e-12)


def test_signs_pass_the_gradient_of_the_identity_on():
    x = torch.tensor([[0.0, -0.0, 2.0, -0.5]], requires_grad=True)
    w = torch.randn(3, 4)
    loss = reference.class_softmax(x, w, torch.tensor([1]), binary=True)
    signs = torch.tensor([[1.0, 1.0, 1.0, -1.0]], requires_grad=True)
    assert loss == reference.class_softmax(signs, w, torch.tensor([1]))
    (gradient,), (expected,) = (
        torch.autograd.grad(each, leaf)
        for each, leaf in ((loss, x), (reference.class_softmax(signs, w, torch.tensor([1])), signs))
    )
    torch.testing.assert_close(gradient, expected)


def test_a_row_of_zeros_has_no_direction():
    x, w = torch.zeros(2, 3, requires_grad=True), torch.randn(4, 3)
    loss = reference.class_softmax(x, w, torch.tensor([0, 1]), normalize_embeddings=True)
    assert loss.item() == pytest.approx(math.log(4))
    assert torch.equal(torch.autograd.grad(loss, x)[0], torch.zeros_like(x))
