# SPDX-License-Identifier: Apache-2.0
import math

import mpmath
import pytest
import torch

from fasthash.special import log_vmf_normalizer, mean_resultant_length


@pytest.mark.parametrize("dim", [2, 3, 16, 64, 128, 1000])
def test_value_and_gradient_against_mpmath(dim):
    kappa = torch.tensor([1e-3, 0.5, 15.0, 100.0, 5000.0], dtype=torch.float64, requires_grad=True)
    found = log_vmf_normalizer(dim, kappa)
    (slope,) = torch.autograd.grad(found.sum(), kappa)
    for k, value, gradient, length in zip(
        kappa.tolist(), found.tolist(), slope.tolist(), mean_resultant_length(dim, kappa).tolist(), strict=True
    ):
        with mpmath.workdps(50):
            v, k = mpmath.mpf(dim) / 2 - 1, mpmath.mpf(k)
            bessel = mpmath.besseli(v, k, maxterms=10**6)
            expected = v * mpmath.log(k) - (v + 1) * mpmath.log(2 * mpmath.pi) - mpmath.log(bessel)
            ratio = mpmath.besseli(v + 1, k, maxterms=10**6) / bessel
        assert value == pytest.approx(float(expected), rel=1e-14, abs=1e-14)
        assert gradient == pytest.approx(-float(ratio), rel=1e-14)
        assert length == pytest.approx(float(ratio), rel=1e-14)


def test_three_dimensions_in_closed_form():
    kappa = torch.linspace(0.01, 40, 50, dtype=torch.float64)
    expected = torch.log(kappa / (4 * math.pi * torch.sinh(kappa)))
    torch.testing.assert_close(log_vmf_normalizer(3, kappa), expected, rtol=1e-13, atol=1e-13)
    expected = 1 / torch.tanh(kappa) - 1 / kappa
    torch.testing.assert_close(mean_resultant_length(3, kappa), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("dim", [2, 3, 64])
def test_zero_is_the_uniform_distribution(dim):
    kappa = torch.zeros((), dtype=torch.float64, requires_grad=True)
    area = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)
    found = log_vmf_normalizer(dim, kappa)
    found.backward()
    assert found.item() == pytest.approx(-area, rel=1e-14)
    assert kappa.grad.item() == 0.0


def test_float32_keeps_its_digits_where_the_plain_formula_loses_them():
    kappa = torch.tensor([1e-6, 1e-3, 15.0])
    found = log_vmf_normalizer(512, kappa)
    assert torch.equal(found, log_vmf_normalizer(512, kappa.double()).float())


@pytest.mark.parametrize(
    ("dim", "kappa", "text"),
    [
        (1, torch.ones(1), "log_vmf_normalizer: dim must be >= 2, got 1"),
        (3, torch.ones(1, dtype=torch.int32), "kappa must be a tensor of dtype"),
    ],
)
def test_errors(dim, kappa, text):
    with pytest.raises(ValueError, match=text):
        log_vmf_normalizer(dim, kappa)
