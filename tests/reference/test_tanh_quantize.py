# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest
import torch

from fasthash import reference

from . import naive

GATES = ["none", "magnitude", "wrong_side"]


def logits(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).mul(3).to(dtype)


@pytest.mark.parametrize("sharpness", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("penalty", list(naive.PENALTIES))
def test_codes_and_penalty_are_those_of_the_formula(penalty, sharpness):
    z = logits(4, 5)
    out = reference.tanh_quantize(z, sharpness, penalty=penalty)
    h = [math.tanh(sharpness * v) for v in z.flatten().tolist()]
    assert out.codes.flatten().tolist() == pytest.approx(h, abs=1e-15)
    assert out.penalty.item() == pytest.approx(sum(map(naive.PENALTIES[penalty], h)) / len(h), rel=1e-12)
    assert out.packed.shape == out.saturation.shape == (0,)


@pytest.mark.parametrize(("gate", "inverse"), list(itertools.product(GATES, [False, True])))
def test_gradient_of_codes_is_the_declared_surrogate(gate, inverse):
    z = logits(6, 7).requires_grad_()
    upstream = logits(6, 7, seed=1)
    out = reference.tanh_quantize(
        z, 1.5, penalty="none", amplifier=gate, amplification=7.0, inverse=inverse, threshold=0.9
    )
    out.codes.backward(upstream)
    pairs = zip(z.flatten().tolist(), upstream.flatten().tolist(), strict=True)
    expected = [naive.tanh_gradient(v, g, 1.5, gate, 7.0, inverse, 0.9) for v, g in pairs]
    assert z.grad.flatten().tolist() == pytest.approx(expected, rel=1e-9)


def test_default_amplifications_are_10_and_100():
    for inverse, factor in ((False, 10.0), (True, 100.0)):
        z = torch.tensor([[4.0]], dtype=torch.float64, requires_grad=True)
        reference.tanh_quantize(z, inverse=inverse).codes.sum().backward()
        assert z.grad.item() == pytest.approx(factor / math.cosh(4.0) ** 2, rel=1e-9)


@pytest.mark.parametrize("penalty", list(naive.PENALTIES))
def test_penalty_gradient_is_unamplified(penalty):
    z = logits(3, 4).mul(0.3).requires_grad_()
    reference.tanh_quantize(z, 1.2, penalty=penalty, amplifier="magnitude", threshold=0.1).penalty.backward()
    expected = [naive.penalty_gradient(v, 1.2, penalty) / z.numel() for v in z.flatten().tolist()]
    assert z.grad.flatten().tolist() == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("penalty", [*naive.PENALTIES, "none"])
def test_gradcheck_at_the_neutral_setting(penalty):
    z = logits(4, 3).requires_grad_()
    outputs = slice(0, 1 if penalty == "none" else 2)
    assert torch.autograd.gradcheck(
        lambda x: reference.tanh_quantize(x, 0.7, penalty=penalty, amplifier="none")[outputs], z
    )


def test_slope_keeps_its_digits_in_deep_saturation():
    z = torch.tensor([[15.0, -15.0]], requires_grad=True)
    reference.tanh_quantize(z, penalty="none", amplifier="none").codes.sum().backward()
    assert z.grad.flatten().tolist() == pytest.approx([1 / math.cosh(15.0) ** 2] * 2, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32_and_rounds_once(dtype):
    z = logits(5, 9, dtype=dtype).requires_grad_()
    wide = z.detach().float().requires_grad_()
    out, expected = reference.tanh_quantize(z), reference.tanh_quantize(wide)
    assert out.codes.dtype == dtype
    assert out.penalty.dtype == torch.float32
    assert torch.equal(out.codes, expected.codes.to(dtype))
    assert out.penalty == expected.penalty
    upstream = logits(5, 9, dtype=dtype, seed=3)
    (out.codes * upstream).sum().backward()
    (expected.codes * upstream.float()).sum().backward()
    assert torch.equal(z.grad, wide.grad.to(dtype))


def test_packed_and_saturation():
    z = torch.cat([logits(10, 12), torch.tensor([[0.0, -0.0] * 6])])
    out = reference.tanh_quantize(z, pack=True, count_saturation=True, threshold=0.8)
    assert np.array_equal(out.packed.numpy(), np.packbits(z.numpy() >= 0, axis=1))
    expected = [sum(abs(math.tanh(v)) > 0.8 for v in column) for column in z.T.tolist()]
    assert out.saturation.tolist() == expected


def test_zero_counts_as_the_positive_side():
    z = torch.tensor([[0.0, -0.0]], requires_grad=True)
    reference.tanh_quantize(z, penalty="l1").penalty.backward()
    assert z.grad.tolist() == [[-0.5, -0.5]]


def test_nan_and_infinity():
    z = torch.tensor([[math.nan, math.inf, -math.inf]], requires_grad=True)
    out = reference.tanh_quantize(z, pack=True, count_saturation=True)
    assert out.codes[0, 1:].tolist() == [1.0, -1.0]
    assert out.codes[0, 0].isnan()
    assert out.penalty.isnan()
    assert out.packed.tolist() == [[0b01000000]]
    assert out.saturation.tolist() == [0, 1, 1]
    out.codes.sum().backward()
    assert z.grad[0, 0].isnan()
    assert z.grad[0, 1:].tolist() == [0.0, 0.0]


def test_any_strides_and_leading_shape():
    wide = logits(3, 8, 10)
    z = wide.transpose(1, 2)[..., 1:6]
    out, expected = (reference.tanh_quantize(t, pack=True, count_saturation=True) for t in (z, z.contiguous()))
    assert torch.equal(out.codes, expected.codes)
    assert out.penalty.item() == pytest.approx(expected.penalty.item(), rel=1e-12)
    assert torch.equal(out.packed, expected.packed)
    assert torch.equal(out.saturation, expected.saturation)
    assert out.packed.shape == (3, 10, 1)
    assert reference.tanh_quantize(z[0, 0], pack=True).packed.shape == (1,)


def test_sharpness_may_be_a_tensor():
    z = logits(4, 6).requires_grad_()
    beta = torch.tensor(1.7, requires_grad=True)
    out, expected = reference.tanh_quantize(z, beta), reference.tanh_quantize(z, beta.item())
    assert torch.equal(out.codes, expected.codes)
    (gradient,) = torch.autograd.grad(out.codes.sum(), z)
    assert torch.equal(gradient, torch.autograd.grad(expected.codes.sum(), z)[0])
    assert reference.tanh_quantize(z.float(), beta.double()).codes.dtype == torch.float32


def test_double_backward_is_refused():
    z = logits(2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(reference.tanh_quantize(z).codes.sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward is not defined"):
        gradient.sum().backward()


def test_torch_func_transforms_work():
    z = logits(3, 4)
    plain = z.clone().requires_grad_()
    reference.tanh_quantize(plain).codes.sum().backward()
    assert torch.equal(torch.func.grad(lambda x: reference.tanh_quantize(x).codes.sum())(z), plain.grad)
    assert torch.func.jacrev(lambda x: reference.tanh_quantize(x).codes.sum(0))(z).shape == (4, 3, 4)


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"logits": torch.zeros(2, 3, dtype=torch.int32)}, "logits must be a tensor of dtype"),
        ({"logits": torch.zeros(0, 3)}, "not empty, got"),
        ({"logits": torch.tensor(1.0)}, "logits must be of shape"),
        ({"sharpness": 0.0}, "sharpness must be a finite number > 0, got 0"),
        ({"sharpness": torch.ones(2)}, "sharpness must be a number or a tensor of one element"),
        ({"sharpness": torch.tensor(-1.0)}, "sharpness must be a finite number > 0, got -1"),
        ({"sharpness": torch.ones((), dtype=torch.float16)}, "sharpness must be a tensor of dtype float32, float64"),
        ({"penalty": "L2"}, "penalty must be one of 'none', 'l2', 'l1', 'log_cosh', 'cubic', got 'L2'"),
        ({"amplifier": "both"}, "amplifier must be one of"),
        ({"amplification": math.nan}, "amplification must be a finite number > 0"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_arguments(kwargs, text):
    with pytest.raises(ValueError, match=text):
        reference.tanh_quantize(**{"logits": torch.zeros(2, 3), **kwargs})
