# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy

import pytest
import torch

from fasthash import ops
from fasthash.losses import AsymmetricHashLoss, DiscreteCodes


def labels_of(kind: str, count: int) -> torch.Tensor:
    return torch.arange(count) % 4 if kind == "ids" else torch.eye(4)[torch.arange(count) % 4]


@pytest.mark.parametrize("kind", ["ids", "multi-hot"])
@pytest.mark.parametrize("options", [{}, {"dissimilar": 1.0}, {"quantization": 20.0}])
def test_an_update_never_raises_the_loss_of_its_sample(kind, options):
    bank = DiscreteCodes(labels_of(kind, 200), 24, **options)
    loss = AsymmetricHashLoss(quantization=options.get("quantization", 0.0))
    for _ in range(3):
        positions = bank.sample(50)
        relaxed = torch.tanh(torch.randn(50, 24, dtype=torch.float32))
        before = loss(relaxed.double(), ref_codes=bank, positions=positions)
        changed = bank.update(relaxed, positions)
        after = loss(relaxed.double(), ref_codes=bank, positions=positions)
        assert after <= before * (1 + 1e-13)
        assert (after < before) == (int(changed) > 0)


def test_alternating_learns_codes_that_tell_classes_apart():
    """A linear network on noisy class means: after a few rounds items of a class have nearly the same code."""
    labels = torch.arange(400) % 4
    features = torch.eye(4)[labels] + 0.1 * torch.randn(400, 4)
    network = torch.nn.Linear(4, 12)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    bank, loss = DiscreteCodes(labels, 12), AsymmetricHashLoss(length_scale=True)
    for _ in range(6):
        positions = bank.sample(200)
        for at in positions.split(20):
            optimizer.zero_grad()
            loss(torch.tanh(network(features[at])), ref_codes=bank, positions=at).backward()
            optimizer.step()
        bank.update(torch.tanh(network(features[positions])).detach(), positions)
    codes = bank.codes.float()
    same = (labels.unsqueeze(1) == labels).float()
    products = codes @ codes.T / 12
    assert (products * same).sum() / same.sum() > 0.95
    assert (products * (1 - same)).sum() / (1 - same).sum() < 0.2


def test_state_dict_brings_codes_and_labels_and_makes_the_sums_anew():
    for kind in ("ids", "multi-hot"):
        bank = DiscreteCodes(labels_of(kind, 80), 10)
        assert set(bank.state_dict()) == {"codes", "labels"}
        other = DiscreteCodes(labels_of(kind, 80).flip(0), 10)
        other.load_state_dict(bank.state_dict())
        u = torch.randn(5, 10)
        arguments = {"positions": torch.arange(5)}
        assert AsymmetricHashLoss()(u, ref_codes=other, **arguments) == AsymmetricHashLoss()(
            u, ref_codes=bank, **arguments
        )
        assert torch.equal(other.gram, bank.codes.long().T @ bank.codes.long())


def test_copies_are_independent_and_half_leaves_the_sums_whole():
    bank = DiscreteCodes(labels_of("ids", 80), 10)
    other = copy.deepcopy(bank)
    other.update(torch.randn(20, 10), torch.arange(20))
    assert not torch.equal(other.codes, bank.codes)
    gram = bank.gram.clone()
    assert torch.equal(bank.half().gram, gram)


def test_samples_are_different_items():
    bank = DiscreteCodes(torch.zeros(30, dtype=torch.int64), 8)
    assert len(bank) == 30
    assert len(bank.sample(12).unique()) == 12
    assert len(bank.sample(100)) == 30
    first, second = (bank.sample(9, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_packed_codes():
    bank = DiscreteCodes(torch.zeros(7, dtype=torch.int64), 12)
    assert torch.equal(ops.unpack_codes(bank.packed(), 12, dtype=torch.int8), bank.codes)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"bits": 0}, "bits must be in 1..1024, got 0"),
        ({"labels": torch.zeros(5)}, "labels must be integer ids where 1-D, got float32"),
        ({"labels": torch.zeros(5, 1)}, r"labels must be ids .* pass labels\.squeeze\(1\)"),
        ({"labels": torch.full((5, 2), torch.nan)}, "labels must be finite, got 10 NaN"),
        ({"labels": torch.zeros(5, 1, 1)}, "labels must be 1-D ids or 2-D multi-hot rows"),
        ({"codes": torch.ones(5, 7, dtype=torch.int8)}, r"codes must be of shape \(5, 8\), got \(5, 7\)"),
        ({"codes": torch.ones(5, 8)}, "codes must be a tensor of dtype int8, got float32"),
        ({"dissimilar": -0.5}, "dissimilar must be a finite number >= 0, got -0.5"),
        ({"quantization": -1.0}, "quantization must be a finite number >= 0, got -1.0"),
    ],
)
def test_bad_options(arguments, text):
    with pytest.raises(ValueError, match="DiscreteCodes: " + text):
        DiscreteCodes(**{"labels": torch.zeros(5, dtype=torch.int64), "bits": 8, **arguments})


@pytest.mark.parametrize(
    ("relaxed", "text"),
    [
        (torch.zeros(3, 7), r"relaxed must be of shape \(3, 8\), got \(3, 7\)"),
        (torch.zeros(3, 8, dtype=torch.int32), "relaxed must be a tensor of dtype float32"),
        (torch.full((3, 8), torch.nan), "relaxed must be finite, got 24 NaN"),
    ],
)
def test_bad_updates(relaxed, text):
    bank = DiscreteCodes(torch.zeros(5, dtype=torch.int64), 8)
    with pytest.raises(ValueError, match="DiscreteCodes: " + text):
        bank.update(relaxed, torch.arange(3))
    with pytest.raises(ValueError, match=r"DiscreteCodes: positions must be in 0..4, got 3..5"):
        bank.update(torch.zeros(3, 8), torch.arange(3, 6))
    with pytest.raises(TypeError, match=r"DiscreteCodes: positions must be a torch\.Tensor, got list"):
        bank.update(torch.zeros(3, 8), [0, 1, 2])
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        bank.sample(0)
