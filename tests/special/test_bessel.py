# SPDX-License-Identifier: Apache-2.0
import math
import random

import mpmath
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fasthash.special import bessel as module
from fasthash.special import bessel_ratio, log_bessel_i


def exact(v, x):
    """At 50 digits, `log I_v(x)` and its first two derivatives, `I_{v+1}(x) / I_v(x)` and its derivative."""
    with mpmath.workdps(50):
        v, x = mpmath.mpf(v), mpmath.mpf(x)
        value = mpmath.besseli(v, x, maxterms=10**6)
        ratio = mpmath.besseli(v + 1, x, maxterms=10**6) / value
        change = 1 - ratio**2 - (2 * v + 1) * ratio / x
        found = mpmath.log(value), ratio + v / x, change - v / x**2, ratio, change
        return tuple(float(each) for each in found)


def points():
    """Orders in [0, 2000] and arguments in [1e-6, 1e5], dense around the border of the two methods."""
    draw = random.Random(0)
    found = [(0.0, 1e5), (2000.0, 1e5), (2000.0, 1e-6), (0.0, 1e-6), (31.0, 15.0), (1000.0, 662.0)]
    for number in range(240):
        v = draw.choice([0.0, 0.5, draw.uniform(0, 3), draw.uniform(0, 30), draw.uniform(0, 2000)])
        if number % 3 == 0:
            v = draw.uniform(0, 20)
            x = math.sqrt(20**2 - v**2) * draw.choice([0.95, 1 - 1e-9, 1 + 1e-9, 1.05])
        else:
            x = draw.choice([10 ** draw.uniform(-6, 0), 10 ** draw.uniform(0, 3), (v + 0.01) * draw.uniform(0.1, 3)])
        found.append((v, x))
    return found


@pytest.fixture(scope="module")
def cases():
    chosen = points()
    v, x = torch.tensor(chosen, dtype=torch.float64).unbind(1)
    return v, x, torch.tensor([exact(*each) for each in chosen], dtype=torch.float64).unbind(1)


def worst(found, expected, scale=None):
    scale = expected.abs() if scale is None else scale
    return ((found - expected).abs() / scale).max().item()


def test_values_and_derivatives_against_mpmath(cases):
    v, x, (value, slope, second, ratio, _) = cases
    x = x.clone().requires_grad_()
    found = log_bessel_i(v, x)
    (found_slope,) = torch.autograd.grad(found.sum(), x, create_graph=True)
    (found_second,) = torch.autograd.grad(found_slope.sum(), x)
    size = torch.maximum(torch.hypot(v, x.detach()), value.abs()).clamp(min=1)
    assert worst(found.detach(), value, size) < 2e-15
    assert worst(found_slope.detach(), slope) < 1e-14
    assert worst(bessel_ratio(v, x).detach(), ratio) < 1e-14
    assert worst(found_second, second, second.abs().clamp(min=1)) < 1e-14


def test_derivative_of_the_ratio_against_mpmath(cases):
    v, x, (_, _, _, _, change) = cases
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(bessel_ratio(v, x).sum(), x)
    assert worst(found, change, torch.ones(())) < 1e-14


def test_float32_is_the_rounded_value(cases):
    v, x, _ = cases
    x = x.float()
    wide = x.double().requires_grad_()
    narrow = x.clone().requires_grad_()
    expected, found = log_bessel_i(v, wide), log_bessel_i(v, narrow)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected.float())
    expected.sum().backward()
    found.sum().backward()
    assert torch.equal(narrow.grad, wide.grad.float())


def test_agrees_with_the_orders_that_torch_has():
    x = torch.logspace(-8, 5, 300, dtype=torch.float64)
    torch.testing.assert_close(log_bessel_i(0.0, x), torch.special.i0e(x).log() + x, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(log_bessel_i(1.0, x), torch.special.i1e(x).log() + x, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(bessel_ratio(0.0, x), torch.special.i1e(x) / torch.special.i0e(x), rtol=1e-13, atol=0)


def test_half_integer_orders_are_elementary():
    x = torch.logspace(-3, 2, 100, dtype=torch.float64)
    expected = 0.5 * torch.log(2 / (math.pi * x)) + torch.log(torch.sinh(x))
    torch.testing.assert_close(log_bessel_i(0.5, x), expected, rtol=1e-13, atol=1e-13)


def test_gradcheck_and_gradgradcheck():
    v = torch.tensor([0.0, 0.7, 12.0, 60.0, 0.0], dtype=torch.float64)
    x = torch.tensor([0.3, 5.0, 19.0, 8.0, 60.0], dtype=torch.float64, requires_grad=True)
    for function in (log_bessel_i, bessel_ratio):
        assert gradcheck(lambda each, function=function: function(v, each), x)
        assert gradgradcheck(lambda each, function=function: function(v, each), x)


def test_zero_argument():
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    v = torch.tensor([0.0, 0.5, 30.0], dtype=torch.float64)
    assert log_bessel_i(v, x).tolist() == [0.0, -math.inf, -math.inf]
    ratio = bessel_ratio(v, x)
    assert ratio.tolist() == [0.0, 0.0, 0.0]
    (slope,) = torch.autograd.grad(ratio.sum(), x)
    torch.testing.assert_close(slope, 0.5 / (v + 1))
    (slope,) = torch.autograd.grad(log_bessel_i(v, x).sum(), x)
    assert slope.tolist() == [0.0, math.inf, math.inf]


def test_far_outside_of_the_stated_range():
    x = torch.tensor([1e12, 1.0], dtype=torch.float64)
    v = torch.tensor([3.0, 1e9], dtype=torch.float64)
    found = log_bessel_i(v, x)
    assert found[0].item() == pytest.approx(1e12 - 0.5 * math.log(2 * math.pi * 1e12), rel=1e-14)
    assert found[1].item() == pytest.approx(1e9 * math.log(0.5) - math.lgamma(1e9 + 1), rel=1e-12)


def test_what_has_no_value_is_nan():
    bad = torch.tensor([-1.0, math.nan, 2.0], dtype=torch.float64)
    assert log_bessel_i(1.5, bad).isnan().tolist() == [True, True, False]
    assert bessel_ratio(1.5, bad).isnan().tolist() == [True, True, False]
    assert log_bessel_i(bad, torch.ones(3)).isnan().tolist() == [True, True, False]


def test_broadcasting_and_empty():
    v, x = torch.tensor([[0.0], [30.0]]), torch.tensor([1.0, 40.0, 100.0])
    found = log_bessel_i(v, x)
    assert found.shape == (2, 3)
    assert found[1, 2] == log_bessel_i(30.0, x[2])
    assert log_bessel_i(1.0, torch.zeros(0, 4)).shape == (0, 4)


def test_many_elements_go_in_chunks(monkeypatch):
    x = torch.rand(5, 7, dtype=torch.float64).mul(60).requires_grad_()
    expected = log_bessel_i(2.5, x)
    monkeypatch.setattr(module, "_CHUNK", 8)
    found = log_bessel_i(2.5, x)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(each.sum(), x)[0] for each in (found, expected)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_are_rounded_once(dtype):
    x = torch.tensor([0.5, 30.0, 900.0]).to(dtype)
    found = log_bessel_i(5.0, x)
    assert torch.equal(found, log_bessel_i(5.0, x.double()).to(dtype))


def test_compiles_and_can_be_vmapped():
    x = torch.tensor([0.5, 19.0, 30.0, 900.0], dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(lambda each: log_bessel_i(15.0, each), fullgraph=True, backend="aot_eager")
    found, expected = compiled(x), log_bessel_i(15.0, x)
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)
    gradients = [torch.autograd.grad(each.sum(), x)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-15, atol=0)
    mapped = torch.func.vmap(torch.func.grad(lambda each: log_bessel_i(15.0, each)))(x.detach())
    torch.testing.assert_close(mapped, gradients[1])


@pytest.mark.parametrize(
    ("v", "x", "text"),
    [
        (-0.5, torch.ones(2), "log_bessel_i: v must be a finite number >= 0, got -0.5"),
        (math.inf, torch.ones(2), "v must be a finite number >= 0, got inf"),
        (1.0, torch.ones(2, dtype=torch.int64), "x must be a tensor of dtype float32, .*, got int64"),
        (
            torch.ones(2, requires_grad=True),
            torch.ones(2),
            "v must be without requires_grad",
        ),
        (torch.ones(2, device="meta"), torch.ones(2), "v must be on cpu, got meta"),
    ],
)
def test_errors(v, x, text):
    with pytest.raises(ValueError, match=text):
        log_bessel_i(v, x)
