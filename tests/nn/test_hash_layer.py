# SPDX-License-Identifier: Apache-2.0
import copy
import math

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash import reference
from fasthash.nn import HashLayer


def features(rows=9, width=6, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return HashLayer(6, 12)


def test_forward_is_linear_then_tanh_quantize():
    torch.manual_seed(0)
    layer = HashLayer(6, 12, sharpness=2.5, penalty="l1", amplifier="magnitude", inverse=True, threshold=0.4)
    x = features()
    out = layer(x)
    logits = x @ layer.linear.weight.T + layer.linear.bias
    expected = reference.tanh_quantize(logits, 2.5, penalty="l1", amplifier="magnitude", inverse=True, threshold=0.4)
    torch.testing.assert_close(out.logits, logits)
    torch.testing.assert_close(out.codes, expected.codes)
    torch.testing.assert_close(out.penalty, expected.penalty)
    gradients = [
        torch.autograd.grad(o.codes.square().sum() + o.penalty, layer.linear.weight)[0] for o in (out, expected)
    ]
    torch.testing.assert_close(*gradients)


def test_divided_bits_see_features_of_their_own():
    layer = HashLayer(24, 12, divide=True)
    assert (layer.bits, layer.in_features) == (12, 24)
    x = features(5, 24).requires_grad_()
    logits = layer(x).logits
    torch.testing.assert_close(logits, (x.view(5, 12, 2) * layer.linear.weight).sum(2) + layer.linear.bias)
    gradient = torch.autograd.grad(logits[:, 3].sum(), x)[0]
    assert gradient[:, 6:8].abs().min() > 0
    assert gradient[:, :6].abs().sum() == gradient[:, 8:].abs().sum() == 0
    assert torch.equal(layer.encode(x), reference.pack_codes(logits.detach()))
    assert HashLayer(24, 12, divide=True, batch_norm=True).linear.bias is None
    with pytest.raises(ValueError, match="in_features must be a multiple of bits = 12, got 25"):
        HashLayer(25, 12, divide=True)


def test_encode_packs_the_signs_of_the_logits(layer):
    x = features()
    packed = layer.encode(x)
    assert np.array_equal(packed.numpy(), np.packbits(layer(x).logits.detach().numpy() >= 0, axis=1))
    assert not packed.requires_grad


def test_batch_norm_balances_and_encodes_with_running_statistics():
    torch.manual_seed(0)
    layer = HashLayer(6, 12, batch_norm=True)
    assert layer.linear.bias is None
    x = features(200) + 5
    for _ in range(50):
        logits = layer(x).logits
    assert logits.mean(0).abs().max() < 1e-4
    seen = layer.norm.num_batches_tracked.item()
    whole = layer.encode(x)
    assert torch.equal(whole[:3], layer.encode(x[:3]))
    assert layer.norm.num_batches_tracked.item() == seen
    assert torch.equal(whole, layer.eval().encode(x))
    assert torch.equal(whole, reference.pack_codes(layer(x).logits.detach()))


def test_sharpness_is_saved_and_changed_in_place(layer):
    buffer = layer.sharpness
    layer.set_sharpness(3.0)
    assert layer.sharpness is buffer
    fresh = HashLayer(6, 12)
    fresh.load_state_dict(layer.state_dict())
    assert fresh.sharpness.item() == 3.0
    out = layer(features())
    torch.testing.assert_close(out.codes, torch.tanh(3 * out.logits))


def test_penalty_none_is_zero():
    out = HashLayer(6, 12, penalty="none")(features())
    assert out.penalty.shape == ()
    assert out.penalty.item() == 0.0


def test_deep_copies_are_independent(layer):
    twin = copy.deepcopy(layer)
    twin.set_sharpness(5.0)
    assert layer.sharpness.item() == 1.0
    assert torch.equal(twin.encode(features()), layer.encode(features()))


def test_compiles_to_one_graph_for_all_batch_sizes_and_sharpnesses(layer):
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda x: layer(x), fullgraph=True, dynamic=True, backend=counter)
    for rows, sharpness in ((9, 1.0), (5, 2.0), (17, 3.0)):
        layer.set_sharpness(sharpness)
        x = features(rows).clone()
        for found, expected in zip(compiled(x), layer(x), strict=True):
            torch.testing.assert_close(found, expected)
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(layer, dtype):
    layer.set_sharpness(2.0)
    out = layer.to(dtype)(features().to(dtype))
    torch.testing.assert_close(out.codes, torch.tanh(2 * out.logits))
    assert layer.encode(features().to(dtype)).shape == (9, 2)


def test_autocast_keeps_the_penalty_in_float32(layer):
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(features())
    assert out.penalty.dtype == torch.float32
    (out.codes.float().sum() + out.penalty).backward()
    assert layer.linear.weight.grad.isfinite().all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("method", ["forward", "encode"])
def test_values_that_are_not_finite_are_refused(layer, value, method):
    x = features()
    x[4, 2] = value
    with pytest.raises(ValueError, match=r"HashLayer: logits must be finite, got .* first at \(4, 0\)"):
        getattr(layer, method)(x)


def test_check_finite_can_be_off(layer):
    layer.check_finite = False
    x = features()
    x[4, 2] = math.nan
    out = layer(x)
    assert out.codes[4].isnan().all()
    assert out.codes[:4].isfinite().all()
    assert out.penalty.isnan()


def test_large_finite_values_are_not_mistaken_for_infinity(layer):
    layer.check_finite = True
    with torch.no_grad():
        layer.linear.weight.fill_(1e38)
    assert layer(torch.full((5, 6), 0.5)).codes.isfinite().all()


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"in_features": 0}, "in_features must be >= 1, got 0"),
        ({"bits": 0}, "bits must be >= 1, got 0"),
        ({"sharpness": -1.0}, "sharpness must be a finite number > 0, got -1.0"),
        ({"penalty": "l3"}, "penalty must be one of 'none', 'l2', 'l1', 'log_cosh', 'cubic', got 'l3'"),
        ({"amplifier": "all"}, "amplifier must be one of 'none', 'magnitude', 'wrong_side', got 'all'"),
    ],
)
def test_bad_options(kwargs, text):
    with pytest.raises(ValueError, match=text):
        HashLayer(**{"in_features": 6, "bits": 12, **kwargs})


@pytest.mark.parametrize("shape", [(9, 5), (6,), (2, 9, 6)])
def test_features_of_another_shape_are_refused(layer, shape):
    with pytest.raises(ValueError, match=r"features must be of shape \(batch, 6\), got"):
        layer(torch.zeros(shape))


def test_an_empty_batch_is_refused(layer):
    with pytest.raises(ValueError, match="tanh_quantize: logits must be"):
        layer(torch.zeros(0, 6))
