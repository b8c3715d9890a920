# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthash import _C, ops, reference
from fasthash.types import AMPLIFIERS, PENALTIES
from tests.cases import FLOAT_DTYPES, layouts, wide_slice
from tests.kernels import Kernels

# Relative bounds of codes and gradients against the reference: a few ulp of the computation, plus half an ulp of the
# rounding to a half precision.
RTOL = {torch.float32: 2e-6, torch.float64: 1e-13, torch.bfloat16: 8e-3, torch.float16: 1e-3}
ATOL = {torch.float32: 2e-7, torch.float64: 1e-15, torch.bfloat16: 1e-6, torch.float16: 1e-6}
# Gradients of codes and penalty may cancel: 1 - h^2 is off by half an ulp of 1, times what comes in, some 5 at most.
GRAD_ATOL = {**ATOL, torch.float32: 1e-6}
# The slope's relative error is that of exp: its argument 2 * sharpness * |z| reaches 40 here.
GRAD_RTOL = {**RTOL, torch.float32: 2e-5, torch.float64: 1e-12}


def raw_arguments(penalty: str, amplifier: str = "wrong_side", inverse: bool = False, **settings: float) -> list:
    return [
        None,
        settings.get("sharpness", 1.0),
        PENALTIES.index(penalty),
        AMPLIFIERS.index(amplifier),
        inverse,
        settings.get("amplification", 10.0),
        settings.get("threshold", 0.99),
    ]


def expected(logits, grad_codes, grad_penalty, **options):
    z = logits.clone().requires_grad_()
    out = reference.tanh_quantize(z, pack=True, count_saturation=True, **options)
    outputs = [out.codes] if options["penalty"] == "none" else [out.codes, out.penalty]
    grads = [grad_codes] if options["penalty"] == "none" else [grad_codes, grad_penalty]
    (gradient,) = torch.autograd.grad(outputs, z, grads)
    return [t.detach() for t in out], gradient


def assert_near(got, want, rtol, atol):
    torch.testing.assert_close(got.cpu(), want, rtol=rtol[want.dtype], atol=atol[want.dtype], equal_nan=True)


def check_against_reference(kernels: Kernels, logits, penalty, amplifier, inverse):
    grad_codes = torch.randn(logits.shape).to(logits.dtype)
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    grad_penalty = torch.tensor(100.0, dtype=wide)
    options = {"penalty": penalty, "amplifier": amplifier, "inverse": inverse, "amplification": 10.0}
    (codes, mean, packed, saturation), gradient = expected(logits, grad_codes, grad_penalty, sharpness=1.3, **options)
    arguments = raw_arguments(penalty, amplifier, inverse, sharpness=1.3)
    on_device = logits.to(kernels.device)
    got = kernels.ops.tanh_quantize(on_device, *arguments, True, True)
    assert_near(got[0], codes, RTOL, ATOL)
    torch.testing.assert_close(got[1].cpu(), mean, rtol=1e-5, atol=1e-7)
    assert torch.equal(got[2].cpu(), packed)
    # |h| within an ulp of the threshold may fall on either side of it
    borderline = (torch.tanh(logits.double() * 1.3).abs() - 0.99).abs() < 1e-6
    assert ((got[3].cpu() - saturation).abs() <= borderline.reshape(-1, logits.shape[-1]).sum(0)).all()
    grads = (grad_codes.to(kernels.device), grad_penalty.to(kernels.device))
    got_gradient = kernels.ops.tanh_quantize_backward(*grads, on_device, *arguments)
    mask = ~borderline
    assert_near(got_gradient.cpu()[mask], gradient[mask], GRAD_RTOL, GRAD_ATOL)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_matches_the_reference(kernels, dtype, penalty):
    for amplifier, inverse in itertools.product(AMPLIFIERS, (False, True)):
        check_against_reference(kernels, wide_slice(13, 45, dtype), penalty, amplifier, inverse)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_machines_match_the_reference(machine, dtype):
    kernels = Kernels("cpu", torch.ops.fasthash, "cpu")
    for penalty, amplifier in itertools.product(PENALTIES, AMPLIFIERS):
        check_against_reference(kernels, wide_slice(9, 77, dtype), penalty, amplifier, inverse=True)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 40), bits=st.integers(1, 140), seed=st.integers(0, 2**31))
def test_any_shape(rows, bits, seed):
    torch.manual_seed(seed)
    for machine in _C.machines_available():
        _C.force_machine(machine)
        check_against_reference(Kernels("cpu", torch.ops.fasthash, "cpu"), wide_slice(rows, bits), "l2", "none", False)
    _C.force_machine("")


@pytest.mark.parametrize("bits", [1, 7, 8, 12, 16, 63, 64, 65])
def test_any_layout(kernels, bits):
    for logits in layouts(10, bits).values():
        check_against_reference(kernels, logits, "l2", "wrong_side", False)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 12), (1, 1, 9), (4, 0 + 1, 16)])
def test_leading_dimensions(kernels, shape):
    logits = torch.randn(shape)
    codes, _, packed, saturation = kernels.ops.tanh_quantize(
        logits.to(kernels.device), *raw_arguments("l2"), True, True
    )
    assert codes.shape == logits.shape
    assert packed.shape == (*shape[:-1], (shape[-1] + 7) // 8)
    assert saturation.shape == shape[-1:]
    assert torch.equal(packed.cpu(), reference.pack_codes(logits))


def test_large_enough_for_many_blocks(kernels):
    logits = torch.randn(3001, 24) * 3
    check_against_reference(kernels, logits, "cubic", "magnitude", False)


def worst_error(tanh, exponents, step):
    """The largest error of float32 tanh in units of the last place of the exact value, over whole binades."""
    worst = 0.0
    for exponent in exponents:
        z = np.arange((exponent + 127) << 23, (exponent + 128) << 23, step, dtype=np.uint32).view(np.float32)
        exact = np.tanh(z.astype(np.float64))
        ulp = np.ldexp(1.0, np.frexp(exact)[1] - 24)
        worst = max(worst, float((np.abs(tanh(torch.from_numpy(z)).numpy() - exact) / ulp).max()))
    return worst


def test_float32_is_within_2_ulp_on_every_machine(machine):
    def tanh(z):
        sign = torch.where(torch.arange(len(z)) % 2 == 0, 1.0, -1.0)
        return torch.ops.fasthash.tanh_quantize(z * sign, *raw_arguments("none"), False, False)[0] * sign

    # Each fourth number where both formulas meet, fewer where the error does not change any more.
    assert worst_error(tanh, range(-5, 4), 4) < 2
    assert worst_error(tanh, range(-60, -5), 1023) < 2
    assert worst_error(tanh, range(4, 60), 65_521) < 1e-5  # 1, where tanh is that near to it


def test_float32_is_within_2_ulp_on_devices(cuda_kernels):
    def tanh(z):
        return cuda_kernels.ops.tanh_quantize(z.to(cuda_kernels.device), *raw_arguments("none"), False, False)[0].cpu()

    assert worst_error(tanh, range(-12, 4), 16 if cuda_kernels.device == "cuda" else 4093) < 2


def test_special_values(kernels):
    logits = torch.tensor([[0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-40, 90.0, -90.0]])
    codes, penalty, packed, _ = kernels.ops.tanh_quantize(logits.to(kernels.device), *raw_arguments("l2"), True, False)
    assert torch.equal(codes[0, :4].cpu(), torch.tensor([0.0, 0.0, 1.0, -1.0]))
    assert codes[0, 4].isnan()
    assert penalty.isnan()
    assert packed.tolist() == [[0b11100110]]
    ones = torch.ones_like(logits).to(kernels.device)
    gradient = kernels.ops.tanh_quantize_backward(ones, None, logits.to(kernels.device), *raw_arguments("l2"))
    assert gradient[0, 4].isnan()
    assert gradient[0, [0, 1, 2, 3, 5, 6, 7]].isfinite().all()


def test_off_outputs_are_empty(kernels):
    outputs = kernels.ops.tanh_quantize(torch.randn(3, 12).to(kernels.device), *raw_arguments("none"), False, False)
    assert [tuple(t.shape) for t in outputs] == [(3, 12), (0,), (0,), (0,)]
    assert [t.dtype for t in outputs[1:]] == [torch.float32, torch.uint8, torch.int64]


def test_threads_give_the_same_bits(threads):
    logits = torch.randn(5000, 33)
    results = []
    for count in (1, 2, 7):
        threads(count)
        results.append(torch.ops.fasthash.tanh_quantize(logits, *raw_arguments("l2"), True, True))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_repeated_calls_give_the_same_bits(kernels):
    logits = torch.randn(700, 48).to(kernels.device)
    first, second = (kernels.ops.tanh_quantize(logits, *raw_arguments("log_cosh"), True, True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_numpy_door_gives_the_same_bits(machine):
    for dtype in (torch.float32, torch.float64, torch.float16):
        logits = wide_slice(40, 21, dtype)
        torch_out = torch.ops.fasthash.tanh_quantize(logits, *raw_arguments("l2"), True, True)
        numpy_out = _C.tanh_quantize(logits.numpy(), pack=True, count_saturation=True)
        for a, b in zip(torch_out, numpy_out, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
        grad = torch.randn(logits.shape).to(dtype)
        penalty_grad = torch.tensor(2.0, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
        torch_grad = torch.ops.fasthash.tanh_quantize_backward(grad, penalty_grad, logits, *raw_arguments("l2"))
        numpy_grad = _C.tanh_quantize_backward(grad.numpy(), penalty_grad.numpy(), logits.numpy())
        np.testing.assert_array_equal(torch_grad.numpy(), numpy_grad)


def test_sharpness_tensor_equals_number(kernels):
    logits = torch.randn(6, 16).to(kernels.device)
    arguments = raw_arguments("l2", sharpness=2.5)
    by_number = kernels.ops.tanh_quantize(logits, *arguments, False, False)
    arguments[:2] = [torch.tensor(2.5).to(kernels.device), 1.0]
    by_tensor = kernels.ops.tanh_quantize(logits, *arguments, False, False)
    assert torch.equal(by_number[0], by_tensor[0])
    gradients = [
        kernels.ops.tanh_quantize_backward(logits, None, logits, *a)
        for a in (arguments, raw_arguments("l2", sharpness=2.5))
    ]
    assert torch.equal(*gradients)


def test_gradcheck_without_amplifier(device):
    for penalty in PENALTIES:
        z = torch.randn(4, 5, dtype=torch.float64, device=device, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda z, penalty=penalty: ops.tanh_quantize(z, 1.5, penalty=penalty, amplifier="none")[:2], z
        )


@pytest.mark.parametrize("amplifier", ["magnitude", "wrong_side"])
def test_amplifier_acts_on_gated_elements_alone(device, amplifier):
    z = torch.tensor([[4.0, 4.0, -4.0, -4.0, 0.5, -0.5]], device=device)
    grad = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0, 1.0]], device=device)
    gradients = {}
    for gate in ("none", amplifier):
        leaf = z.clone().requires_grad_()
        codes = ops.tanh_quantize(leaf, amplifier=gate, amplification=7.0, penalty="none").codes
        (gradients[gate],) = torch.autograd.grad(codes, leaf, grad)
    wanted = [7, 7, 7, 7, 1, 1] if amplifier == "magnitude" else [7, 1, 1, 7, 1, 1]
    torch.testing.assert_close(gradients[amplifier] / gradients["none"], torch.tensor([wanted], device=device).float())


def test_penalty_gradient_is_not_amplified(device):
    gradients = []
    for gate in ("none", "magnitude"):
        z = torch.full((2, 8), 5.0, device=device, requires_grad=True)
        ops.tanh_quantize(z, amplifier=gate).penalty.backward()
        gradients.append(z.grad)
    assert torch.equal(*gradients)


def test_dead_bit_is_rescued():
    """A bit planted at z = +6 whose loss wants -1 flips with the amplifier and not without."""

    def steps(amplifier):
        z = torch.full((1, 1), 6.0, requires_grad=True)
        for _ in range(300):
            codes = ops.tanh_quantize(z, amplifier=amplifier, inverse=True, penalty="none", threshold=0.9).codes
            (gradient,) = torch.autograd.grad((codes + 1).square().sum(), z)
            z = (z - 0.5 * gradient).detach().requires_grad_()
        return z.item()

    assert steps("wrong_side") < 0 < steps("none")


def test_outputs_may_be_changed_in_place(device):
    logits = torch.randn(5, 12, device=device, requires_grad=True)
    expected, changed = (ops.tanh_quantize(logits, penalty="l2") for _ in range(2))
    changed.codes.mul_(2)
    changed.penalty.div_(4)
    found = torch.autograd.grad(changed.codes.sum() + changed.penalty, logits)
    torch.testing.assert_close(found, torch.autograd.grad(2 * expected.codes.sum() + expected.penalty / 4, logits))


def test_double_backward_is_refused(device):
    z = torch.randn(3, 8, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad(ops.tanh_quantize(z).codes.sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward through tanh_quantize is not defined"):
        gradient.sum().backward()


def test_opcheck(device):
    z = torch.randn(4, 12, device=device, requires_grad=True)
    arguments = (z, *raw_arguments("l2"), True, True)
    torch.library.opcheck(torch.ops.fasthash.tanh_quantize.default, arguments)
    backward = (z.detach(), None, z.detach(), *raw_arguments("l2"))
    torch.library.opcheck(torch.ops.fasthash.tanh_quantize_backward.default, backward)


def test_compiles_as_one_graph(device):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    def step(z, beta):
        out = ops.tanh_quantize(z, beta, pack=True)
        return out.codes.sum() + out.penalty, out.packed

    compiled = torch.compile(step, fullgraph=True, dynamic=True, backend=backend)
    for batch in (4, 9, 17):
        z = torch.randn(batch, 12, device=device, requires_grad=True)
        beta = torch.tensor(1.5, device=device)
        for got, want in zip(compiled(z, beta), step(z, beta), strict=True):
            assert torch.equal(got, want)
    assert len(graphs) == 1


def test_fake_tensors_have_the_real_shapes():
    z = torch.randn(3, 5, 12, dtype=torch.bfloat16)
    real = ops.tanh_quantize(z, pack=True, count_saturation=True)
    fake = ops.tanh_quantize(z.to("meta"), pack=True, count_saturation=True)
    assert [(t.shape, t.dtype) for t in fake] == [(t.shape, t.dtype) for t in real]


BAD = [
    (
        {"logits": torch.zeros(2, 3, dtype=torch.int32)},
        "logits must be float32, float64, bfloat16 or float16, got int32",
    ),
    ({"logits": torch.zeros(0, 8)}, r"logits must be a non-empty tensor \(..., bits\), got shape \(0, 8\)"),
    ({"logits": torch.tensor(1.0)}, r"logits must be a non-empty tensor \(..., bits\), got shape \(\)"),
    ({"sharpness": 0.0}, "sharpness must be finite and above 0, got 0"),
    ({"sharpness": float("nan")}, "sharpness must be finite and above 0, got nan"),
    ({"sharpness": torch.ones(2)}, r"sharpness must be a number or a tensor of one element, got shape \(2,\)"),
    ({"sharpness": torch.tensor(1)}, "sharpness must be float32 or float64, got int64"),
    ({"penalty": "l3"}, "penalty must be one of 'none', 'l2', 'l1', 'log_cosh', 'cubic', got 'l3'"),
    ({"amplifier": "yes"}, "amplifier must be one of 'none', 'magnitude', 'wrong_side', got 'yes'"),
    ({"amplification": -1.0}, "amplification must be finite and above 0, got -1"),
    ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match="^tanh_quantize: " + message):
        ops.tanh_quantize(**{"logits": torch.zeros(2, 8), **arguments})


def test_bad_gradients_are_named(kernels):
    logits = torch.zeros(2, 8).to(kernels.device)
    with pytest.raises(ValueError, match=r"grad_codes must be of the logits' shape \(2, 8\), got shape \(8, 2\)"):
        kernels.ops.tanh_quantize_backward(logits.reshape(8, 2), None, logits, *raw_arguments("l2"))
    with pytest.raises(ValueError, match="grad_codes must be float32, got float64"):
        kernels.ops.tanh_quantize_backward(logits.double(), None, logits, *raw_arguments("l2"))
