# SPDX-License-Identifier: Apache-2.0
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from fasthash.baselines import PCAITQ, SignRandomProjection
from fasthash.metrics import mean_average_precision

ENCODERS = [SignRandomProjection, PCAITQ]


def features(rows=300, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator)
    return torch.randn(rows, width, generator=generator) @ mixing + 3


def quantization_error(encoder, x):
    projected = encoder.project(x)
    return (projected.sign() - projected).square().sum().item()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("bits", [1, 12, 16, 40])
def test_codes_are_the_signs_of_the_projection(encoder, bits):
    x = features()
    fitted = encoder(bits).fit(x)
    projected = fitted.project(x)
    assert projected.shape == (300, bits)
    assert np.array_equal(fitted.encode(x).numpy(), np.packbits(projected.numpy() >= 0, axis=1))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_seed_gives_the_same_codes(encoder):
    x = features()
    codes = [encoder(12, seed=seed).fit(x).encode(x) for seed in (0, 0, 1)]
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_shift_of_all_features_changes_nothing(encoder):
    x = features().double()
    codes = [encoder(12).fit(shifted).encode(shifted) for shifted in (x, x + 8)]
    assert (codes[0] != codes[1]).float().mean() < 0.01


def test_random_projection_estimates_the_angle():
    x = torch.tensor([[1.0, 0.0], [math.cos(1.0), math.sin(1.0)], [-1.0, 0.0], [-math.cos(1.0), -math.sin(1.0)]])
    codes = SignRandomProjection(4096).fit(x).encode(x)
    distance = sum((a ^ b).bit_count() for a, b in zip(codes[0].tolist(), codes[1].tolist(), strict=True))
    assert distance / 4096 == pytest.approx(1 / math.pi, abs=0.03)


@pytest.mark.parametrize("bits", [4, 16, 24])
def test_itq_keeps_the_principal_components_and_lowers_the_error(bits):
    x = features()
    start, end = (PCAITQ(bits, iterations=iterations).fit(x) for iterations in (0, 50))
    rank = min(bits, 16)
    singular = torch.linalg.svdvals(end.weight)
    assert singular[:rank].tolist() == pytest.approx([1.0] * rank, abs=1e-5)
    variance = torch.linalg.svdvals((x - x.mean(0)).double())[:rank].square().sum()
    for encoder in (start, end):
        assert encoder.project(x).square().sum().item() == pytest.approx(variance.item(), rel=1e-4)
    assert quantization_error(end, x) < quantization_error(start, x)


def test_itq_error_never_grows():
    x = features()
    errors = [quantization_error(PCAITQ(8, iterations=n).fit(x), x) for n in range(8)]
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(errors))


def test_digits_are_found_far_better_than_by_chance():
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    train, test = torch.arange(len(x)) % 5 > 0, torch.arange(len(x)) % 5 == 0
    scores = {}
    for encoder in ENCODERS:
        fitted = encoder(32).fit(x[train])
        sides = fitted.encode(x[test]), fitted.encode(x[train]), labels[test], labels[train]
        scores[encoder.__name__] = mean_average_precision(*sides)
    assert 0.3 < scores["SignRandomProjection"] < scores["PCAITQ"] < 0.9


@pytest.mark.parametrize("encoder", ENCODERS)
def test_bad_arguments(encoder):
    name = encoder.__name__
    with pytest.raises(ValueError, match=f"{name}: bits must be >= 1, got 0"):
        encoder(0)
    with pytest.raises(ValueError, match=f"{name}: fit must be called before encode"):
        encoder(8).encode(features())
    with pytest.raises(ValueError, match=f"{name}: features must be of shape"):
        encoder(8).fit(features()[:1])
    with pytest.raises(ValueError, match=f"{name}: features must be a tensor of dtype"):
        encoder(8).fit(features().int())
    with pytest.raises(ValueError, match=f"{name}: features must be finite"):
        encoder(8).fit(features() / 0)
    with pytest.raises(ValueError, match=r"features must be of shape \(rows, 16\) as in fit, got \(300, 15\)"):
        encoder(8).fit(features()).encode(features(width=15))


def test_bad_iterations():
    with pytest.raises(ValueError, match="PCAITQ: iterations must be >= 0, got -1"):
        PCAITQ(8, iterations=-1)
