# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash.nn import DivideAndEncode, StraightThroughSign, straight_through_sign


def values(*shape, seed=0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 1.5).requires_grad_()


def test_sign_forward():
    z = torch.tensor([-2.0, -0.0, 0.0, 1e-30, math.inf, -math.inf, math.nan])
    found = StraightThroughSign()(z)
    assert found[:-1].tolist() == [-1.0, 1.0, 1.0, 1.0, 1.0, -1.0]
    assert found[-1].isnan()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_sign_backward(dtype):
    z = torch.tensor([-3.0, -1.0, 0.2, 1.5], dtype=dtype, requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=dtype)
    for backward, expected in (("identity", [1.0, 2.0, 3.0, 4.0]), ("clipped", [0.0, 2.0, 3.0, 0.0])):
        out = StraightThroughSign(backward)(z)
        assert out.dtype == dtype
        assert torch.autograd.grad(out, z, upstream)[0].tolist() == expected
        assert torch.equal(out, straight_through_sign(z, backward))


def test_sign_under_torch_func():
    z = values(5).detach()
    found = torch.func.vmap(torch.func.grad(lambda each: straight_through_sign(each, "clipped") * 2))(z)
    assert torch.equal(found, torch.where(z.abs() <= 1, 2.0, 0.0))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: StraightThroughSign("tanh"), "backward must be one of 'identity', 'clipped', got 'tanh'"),
        (lambda: StraightThroughSign()(torch.ones(2, dtype=torch.int64)), "values must be a tensor of dtype"),
        (lambda: DivideAndEncode(12, 0), "bits must be >= 1, got 0"),
        (lambda: DivideAndEncode(13, 4), "in_features must be a multiple of bits = 4, got 13"),
        (lambda: DivideAndEncode(0, 4), "in_features must be a multiple of bits = 4, got 0"),
        (lambda: DivideAndEncode(12, 4)(torch.ones(2, 8)), r"features must be of shape \(..., 12\), got \(2, 8\)"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("bias", [True, False])
def test_divide_and_encode_is_one_linear_layer_for_each_slice(bias):
    layer = DivideAndEncode(12, 4, bias=bias)
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = values(5, 12)
    expected = torch.empty(5, 4)
    for row in range(5):
        for bit in range(4):
            total = layer.bias[bit].item() if bias else 0.0
            for place in range(3):
                total += (layer.weight[bit, place] * x[row, bit * 3 + place]).item()
            expected[row, bit] = total
    torch.testing.assert_close(layer(x), expected)
    assert layer(x.reshape(5, 1, 12)).shape == (5, 1, 4)
    assert sum(each.numel() for each in layer.parameters()) == (16 if bias else 12)


def test_divide_and_encode_gradients():
    layer = DivideAndEncode(6, 3).double()
    assert torch.autograd.gradcheck(layer, values(4, 6).detach().double().requires_grad_())


def test_divide_and_encode_state_copies_and_autocast():
    layer = DivideAndEncode(12, 4)
    fresh = DivideAndEncode(12, 4)
    fresh.load_state_dict(layer.state_dict())
    x = values(5, 12)
    assert torch.equal(fresh(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    assert layer.half()(x.half()).dtype == torch.float16


def test_compile_to_one_graph_for_all_batch_sizes():
    layer = torch.nn.Sequential(DivideAndEncode(12, 4), StraightThroughSign("clipped"))
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda each: layer(each), fullgraph=True, dynamic=True, backend=counter)
    for rows in (9, 5, 17):
        x = values(rows, 12)
        found, expected = compiled(x), layer(x)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(*(torch.autograd.grad(each.sum(), x)[0] for each in (found, expected)))
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"
