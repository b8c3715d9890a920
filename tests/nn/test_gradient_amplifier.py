# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash import ops, reference
from fasthash.nn import GradientAmplifier


def logits(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 3).to(dtype).requires_grad_()


RULES = [
    {},
    {"amplifier": "magnitude"},
    {"amplifier": "none"},
    {"amplification": 4.0, "threshold": 0.5},
    {"inverse": True, "threshold": 0.9},
    {"amplifier": "magnitude", "inverse": True, "amplification": 7.0},
]


def test_forward_is_the_identity_bit_for_bit():
    z = torch.tensor([-0.0, 1e-40, float("nan"), float("inf"), 3.0])
    out = GradientAmplifier()(z)
    assert torch.equal(out.view(torch.int32), z.view(torch.int32))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sharpness", [1.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_fused_form(rule, sharpness, dtype):
    # tanh's own backward takes 1 - h^2 from h: float32 has no digits left of it for large logits.
    z = logits(50, 8, dtype=dtype).detach().clamp(-3, 3).div(sharpness).requires_grad_()
    upstream = logits(50, 8, dtype=dtype, seed=1).detach()
    layer = GradientAmplifier(**rule, sharpness=sharpness)
    codes = torch.tanh(layer(z) * sharpness)
    (found,) = torch.autograd.grad(codes, z, upstream)
    for module in (ops, reference):
        fused = module.tanh_quantize(z, sharpness, penalty="none", **rule).codes
        (expected,) = torch.autograd.grad(fused, z, upstream)
        torch.testing.assert_close(found, expected, rtol=1e-3 if dtype == torch.float32 else 1e-12, atol=1e-12)
        if rule.get("amplifier") != "none":
            assert (found != torch.autograd.grad(torch.tanh(z * sharpness), z, upstream)[0]).any()


def test_gradient_ratio_is_the_amplification_on_gated_elements_and_one_elsewhere():
    z = logits(200, 16, dtype=torch.float64)
    upstream = logits(200, 16, dtype=torch.float64, seed=1).detach()
    (plain,) = torch.autograd.grad(torch.tanh(z), z, upstream)
    (found,) = torch.autograd.grad(torch.tanh(GradientAmplifier(amplification=8.0, threshold=0.9)(z)), z, upstream)
    gated = (z.tanh().abs() > 0.9) & (plain * z.sign() > 0)
    assert 100 < gated.sum() < 2000
    assert torch.equal(found, torch.where(gated, 8 * plain, plain))


def test_no_op_below_the_threshold():
    z = logits(20, 4).detach().clamp(-1, 1).requires_grad_()
    (found,) = torch.autograd.grad(GradientAmplifier("magnitude")(z).sum(), z)
    assert torch.equal(found, torch.ones_like(z))
    wide = z.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda each: torch.tanh(GradientAmplifier("magnitude")(each)), wide)


def test_sigmoid_codes_take_half_the_sharpness():
    z = logits(100, 4, dtype=torch.float64)
    (plain,) = torch.autograd.grad(torch.sigmoid(z).sum(), z)
    layer = GradientAmplifier(threshold=0.8, sharpness=0.5)
    (found,) = torch.autograd.grad(torch.sigmoid(layer(z)).sum(), z)
    h = torch.sigmoid(z)
    gated = ((2 * h - 1).abs() > 0.8) & (h > 0.5)  # the gradient of the sum is positive
    assert gated.any()
    assert torch.equal(found, torch.where(gated, 10 * plain, plain))


def steps_until_a_dead_bit_flips(amplify, steps=300):
    """One class whose members sit at -6 in a bit, but for one that sits at +6: how long until that one agrees."""
    z = torch.full((8, 1), -6.0)
    z[0] = 6.0
    z = nn.Parameter(z)
    layer = GradientAmplifier() if amplify else nn.Identity()
    optimizer = torch.optim.SGD([z], lr=20.0)
    for step in range(steps):
        h = torch.tanh(layer(z))
        # Similar pairs: log(1 + exp(-h_i h_j)), over the pairs with the planted one.
        loss = torch.nn.functional.softplus(-h[0] * h[1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if z[0, 0] < 0:
            return step
    return None


def test_a_planted_dead_bit_recovers_with_the_amplifier_and_not_without():
    assert steps_until_a_dead_bit_flips(amplify=True) is not None
    assert steps_until_a_dead_bit_flips(amplify=False) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_decide_in_float32(dtype):
    z = torch.tensor([4.0, -4.0, 1.0], dtype=dtype, requires_grad=True)
    GradientAmplifier(amplification=10.0)(z).sum().backward()
    assert z.grad.dtype == dtype
    assert z.grad.tolist() == [10.0, 1.0, 1.0]


def test_sharpness_is_saved_and_copied():
    layer = GradientAmplifier(sharpness=3.0)
    fresh = GradientAmplifier()
    fresh.load_state_dict(layer.state_dict())
    assert fresh.sharpness.item() == 3.0
    twin = copy.deepcopy(layer)
    twin.set_sharpness(1.0)
    assert layer.sharpness.item() == 3.0
    z = torch.tensor([1.0], requires_grad=True)
    layer(z).sum().backward()  # tanh(3) > 0.99
    assert z.grad.item() == 10.0


def test_compiles_to_one_graph_for_all_batch_sizes_and_sharpnesses():
    layer = GradientAmplifier()
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda each: layer(each).tanh(), fullgraph=True, dynamic=True, backend=counter)
    for rows, sharpness in ((9, 1.0), (5, 2.0), (17, 3.0)):
        layer.set_sharpness(sharpness)
        z = logits(rows, 6)
        values = compiled(z), layer(z).tanh()
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(value.sum(), z)[0] for value in values))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


def test_double_backward_is_refused():
    z = logits(3, 2)
    (gradient,) = torch.autograd.grad(GradientAmplifier()(z).square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward is not defined"):
        gradient.sum().backward()


def test_torch_func_grad():
    z = logits(5, 3).detach()
    found = torch.func.grad(lambda each: GradientAmplifier("magnitude")(each).sum())(z)
    assert torch.equal(found, torch.where(z.tanh().abs() > 0.99, 10.0, 1.0))


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"amplifier": "all"}, "GradientAmplifier: amplifier must be one of 'none', 'magnitude', 'wrong_side'"),
        ({"amplification": 0.0}, "amplification must be a finite number > 0, got 0.0"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
        ({"sharpness": 0.0}, "sharpness must be a finite number > 0, got 0.0"),
    ],
)
def test_bad_options(kwargs, text):
    with pytest.raises(ValueError, match=text):
        GradientAmplifier(**kwargs)


def test_bad_dtype():
    with pytest.raises(ValueError, match="logits must be a tensor of dtype"):
        GradientAmplifier()(torch.ones(3, dtype=torch.int32))
