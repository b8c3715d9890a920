# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from fasthash import ops
from fasthash.nn import dead_bits


def test_counts_what_the_gate_would_rescue(device):
    z = torch.tensor([[4.0, 4.0, -4.0, 0.5], [4.0, -4.0, -4.0, -9.0], [0.0, float("nan"), 9.0, 2.0]], device=device)
    grad = torch.tensor([[1.0, -1.0, -1.0, 1.0], [2.0, 0.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0]], device=device)
    assert dead_bits(z, grad).tolist() == [2, 0, 2, 1]
    assert dead_bits(z, grad, threshold=0.9).tolist() == [2, 0, 2, 2]
    assert dead_bits(z.reshape(3, 1, 4), grad.reshape(3, 1, 4), torch.tensor(0.1)).tolist() == [0, 0, 0, 0]


def test_agrees_with_the_amplifier():
    z, grad = torch.randn(200, 7) * 4, torch.randn(200, 7)
    gradients = []
    for amplifier in ("none", "wrong_side"):
        leaf = z.clone().requires_grad_()
        codes = ops.tanh_quantize(leaf, amplifier=amplifier, penalty="none").codes
        gradients.append(torch.autograd.grad(codes, leaf, grad)[0])
    assert torch.equal(dead_bits(z, grad), (gradients[0] != gradients[1]).sum(0))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"logits": torch.zeros(2, 3).int()}, "logits must be a tensor of dtype"),
        ({"logits": torch.tensor(1.0)}, r"logits must be of shape \(..., bits\)"),
        ({"grad_codes": torch.zeros(3, 2)}, r"grad_codes must be of shape \(2, 3\) like logits, got \(3, 2\)"),
        ({"grad_codes": torch.zeros(2, 3, device="meta")}, "grad_codes must be on cpu, got meta"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_input_is_named(arguments, text):
    with pytest.raises(ValueError, match="dead_bits: " + text):
        dead_bits(**{"logits": torch.zeros(2, 3), "grad_codes": torch.zeros(2, 3), **arguments})
