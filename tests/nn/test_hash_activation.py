# SPDX-License-Identifier: Apache-2.0
import copy
import math

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from fasthash import ops
from fasthash.nn import HashActivation


def values(rows=6, width=10, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


@pytest.mark.parametrize("normalize", [True, False])
def test_codes_penalty_and_gradient(normalize):
    given = values()
    layer = HashActivation(normalize, sharpness=1.5, amplifier="none")
    logits = given / given.norm(dim=1, keepdim=True) * math.sqrt(10) if normalize else given
    found = layer(given)
    torch.testing.assert_close(found.logits, logits)
    torch.testing.assert_close(found.codes, torch.tanh(1.5 * logits))
    torch.testing.assert_close(found.penalty, (found.codes.abs() - 1).square().mean())
    assert torch.autograd.gradcheck(lambda each: layer(each)[1:], given)
    assert torch.equal(layer.encode(given), ops.pack_codes(given))


def test_half_precisions_zero_rows_and_no_penalty():
    for dtype in (torch.bfloat16, torch.float16):
        found = HashActivation()(values(dtype=dtype))
        assert (found.codes.dtype, found.penalty.dtype) == (dtype, torch.float32)
    large = HashActivation()(torch.full((2, 4), 6e4, dtype=torch.float16))
    assert torch.equal(large.logits, torch.ones(2, 4, dtype=torch.float16))
    zero = torch.zeros(2, 4, requires_grad=True)
    out = HashActivation(penalty="none")(zero)
    out.codes.sum().backward()
    assert (out.penalty, out.codes.abs().sum()) == (0, 0)
    assert zero.grad.isfinite().all()


def test_sharpness_is_saved_copied_and_changed_without_a_new_graph():
    layer = HashActivation(sharpness=2.0)
    layer.set_sharpness(3.0)
    other = HashActivation()
    other.load_state_dict(layer.state_dict())
    given = values(dtype=torch.float32)
    for each in (other, copy.deepcopy(layer)):
        assert torch.equal(each(given).codes, layer(given).codes)
    counter, counts = CompileCounterWithBackend("aot_eager"), []
    compiled = torch.compile(lambda each: layer(each), fullgraph=True, dynamic=True, backend=counter)
    for rows in (5, 8, 13):
        layer.set_sharpness(rows / 4)
        given = values(rows, dtype=torch.float32)
        torch.testing.assert_close(compiled(given).codes, layer(given).codes)
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1, f"compiled anew: {counts}"


def test_what_is_refused():
    for options, text in (
        ({"sharpness": 0}, "sharpness must be a finite number > 0, got 0"),
        ({"penalty": "l3"}, "penalty must be one of"),
        ({"amplifier": "all"}, "amplifier must be one of"),
    ):
        with pytest.raises(ValueError, match=text):
            HashActivation(**options)
    for given, text in (
        (torch.zeros(3), "embeddings must be of shape"),
        (torch.zeros(0, 3), "embeddings must be of shape"),
        (torch.zeros(2, 3, dtype=torch.int64), "embeddings must be a tensor of dtype"),
        (torch.full((2, 3), math.nan), "embeddings must be finite, got 6 NaN"),
    ):
        for call in (HashActivation(), HashActivation().encode):
            with pytest.raises(ValueError, match=text):
                call(given)
    assert HashActivation(check_finite=False)(torch.full((2, 3), math.nan)).codes.isnan().all()
