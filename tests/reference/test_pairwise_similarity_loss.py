# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from fasthash import ops, reference
from fasthash.types import PAIR_BALANCES, PAIR_RULES


def cost(rule, u, v, s, scale, threshold, smallest):
    inner = sum(p * q for p, q in zip(u, v, strict=True))
    if rule in ("likelihood", "graded_likelihood"):
        return math.log1p(math.exp(scale * inner)) - s * scale * inner
    d = sum((p - q) ** 2 for p, q in zip(u, v, strict=True))
    if rule == "contrast":
        return s * d / 2 + (1 - s) * max(0.0, threshold - d) / 2
    if rule == "cosine_cauchy":
        d = len(u) / 2 * (1 - inner / math.sqrt(sum(p * p for p in u) * sum(q * q for q in v)))
    d = max(d, smallest)
    return s * math.log(d / threshold) + math.log(1 + threshold / d)


@pytest.mark.parametrize("rule", PAIR_RULES)
@pytest.mark.parametrize("balance", PAIR_BALANCES)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("hot", [False, True])
def test_equals_loops_over_pairs(rule, balance, normalize, alone, hot):
    generator = torch.Generator().manual_seed(1)
    sides = []
    for rows in (6, 8):
        rows = 6 if alone else rows
        x = torch.randn(rows, 5, dtype=torch.float64, generator=generator)
        multi_hot = torch.rand(rows, 11, generator=generator) < 0.3
        ids = torch.randint(0, 3, (rows,), generator=generator)
        sides.append((x, ops.pack_codes(multi_hot) if hot else ids, multi_hot))
    (x, labels, first), (y, of_items, second) = sides[0], sides[0] if alone else sides[1]
    pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (alone and i == j)]
    shares = {
        (i, j): bool((first[i] & second[j]).any()) if hot else int(labels[i]) == int(of_items[j]) for i, j in pairs
    }
    n, n1 = len(pairs), sum(shares.values())
    assert 0 < n1 < n
    heavy = 1.5 * (1 if balance == "none" else n / n1)
    light = n / (n - n1) if balance == "both" else 1
    numbers = {"scale": 0.7, "threshold": 4.0, "smallest": 1.0}
    total = 0.0
    for (i, j), s in shares.items():
        one = cost(rule, x[i].tolist(), y[j].tolist(), float(s), **numbers)
        if rule == "graded_likelihood" and hot and s and not torch.equal(first[i], second[j]):
            common, size = int((first[i] & second[j]).sum()), int(first[i].sum() * second[j].sum())
            one = 4.0 * (0.7 * float(x[i] @ y[j]) + 5 - 2 * 5 * common / math.sqrt(size)) ** 2
        total += (heavy if s else light) * one
    by = heavy * n1 + light * (n - n1) if normalize else n
    found = reference.pairwise_similarity_loss(
        x,
        labels,
        None if alone else y,
        None if alone else of_items,
        rule=rule,
        balance=balance,
        cohesion=1.5,
        normalize=normalize,
        **numbers,
    )
    assert found.item() == pytest.approx(total / by, rel=1e-12)


@pytest.mark.parametrize("balance", PAIR_BALANCES)
def test_one_kind_of_pairs_has_the_weight_1(balance):
    x = torch.randn(4, 3)
    for labels in (torch.zeros(4, dtype=torch.long), torch.arange(4)):
        found = reference.pairwise_similarity_loss(x, labels, rule="likelihood", balance=balance)
        assert torch.equal(found, reference.pairwise_similarity_loss(x, labels, rule="likelihood"))


def test_a_batch_of_one_has_no_pair():
    loss = reference.pairwise_similarity_loss(torch.randn(1, 3), torch.zeros(1, dtype=torch.long), rule="likelihood")
    assert loss == 0


@pytest.mark.parametrize("choice", [{"rule": "hinge"}, {"balance": "all"}])
def test_choices_are_checked(choice):
    with pytest.raises(ValueError, match=r"^pairwise_similarity_loss: .* must be one of"):
        reference.pairwise_similarity_loss(torch.ones(2, 2), torch.arange(2), **{"rule": "likelihood", **choice})
