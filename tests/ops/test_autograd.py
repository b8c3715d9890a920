# SPDX-License-Identifier: Apache-2.0
"""The two ways of calling a differentiable operator, by a plain autograd function and through the dispatcher, agree."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fasthash import ops
from fasthash.ops import _autograd
from tests.cases import triplet_case


def tanh_quantize() -> tuple[Tensor, Tensor]:
    logits = torch.randn(6, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    codes, penalty, _, _ = ops.tanh_quantize(logits, penalty="l2", amplifier="magnitude")
    return codes.sum() + penalty, logits


def triplet_margin() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    distances, relation, *_ = triplet_case(8, 20)
    return ops.triplet_margin(distances.requires_grad_(), relation, margin=1.0), distances


def order_aware_triplet() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    distances, *rest = triplet_case(8, 20)
    return ops.order_aware_triplet(distances.requires_grad_(), *rest, margin=1.0), distances


def pairwise_similarity_loss() -> tuple[Tensor, Tensor]:
    embeddings = torch.randn(9, 12, generator=torch.Generator().manual_seed(2)).requires_grad_()
    return ops.pairwise_similarity_loss(embeddings, torch.arange(9) % 3, rule="likelihood"), embeddings


def class_softmax() -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    embeddings = torch.randn(9, 12).requires_grad_()
    return ops.class_softmax(embeddings, torch.randn(3, 12), torch.arange(9) % 3, l2=0.1), embeddings


OPERATORS = [class_softmax, tanh_quantize, triplet_margin, order_aware_triplet, pairwise_similarity_loss]


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def nodes(tensor):
    names, left = [], [tensor.grad_fn]
    while left:
        node = left.pop()
        if node is not None:
            names.append(node.name())
            left += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("operator", OPERATORS)
def test_both_ways_agree(operator):
    value, leaf = operator()
    (gradient,) = torch.autograd.grad(value, leaf)
    assert f"fasthash_{operator.__name__}Backward" in nodes(value)
    with Seen() as mode:
        seen, leaf = operator()
        assert f"fasthash_{operator.__name__}Backward" not in nodes(seen)
        (watched,) = torch.autograd.grad(seen, leaf)
    assert f"fasthash::{operator.__name__}" in mode.names
    assert torch.equal(seen, value)
    assert torch.equal(watched, gradient)


@pytest.mark.parametrize("operator", OPERATORS)
def test_another_pytorch_goes_through_the_dispatcher(operator, monkeypatch):
    assert _autograd._has_short_way, "PyTorch has changed: operators with gradients are slow"
    expected, _ = operator()
    monkeypatch.setattr(_autograd, "_has_short_way", False)
    value, _ = operator()
    assert f"fasthash_{operator.__name__}Backward" not in nodes(value)
    assert torch.equal(value, expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_second_derivative_is_refused_both_ways(operator):
    def differentiate_twice():
        value, leaf = operator()
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        with pytest.raises(RuntimeError, match=f"double backward through {operator.__name__} is not defined"):
            torch.autograd.grad(gradient.sum(), leaf)

    differentiate_twice()
    with Seen():
        differentiate_twice()


@pytest.mark.parametrize("operator", OPERATORS)
def test_nothing_is_recorded_without_gradients(operator):
    expected, _ = operator()
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            value, _ = operator()
        assert value.grad_fn is None
        assert torch.equal(value, expected.detach())


@pytest.mark.parametrize("operator", [each for each in OPERATORS if each is not tanh_quantize])
def test_a_loss_may_be_changed_in_place(operator):
    value, leaf = operator()
    (expected,) = torch.autograd.grad(value, leaf, retain_graph=True)
    value /= 4
    (gradient,) = torch.autograd.grad(value, leaf)
    torch.testing.assert_close(gradient, expected / 4)


def test_subclasses_of_tensors_take_part():
    class Named(Tensor):
        names: ClassVar[list[str]] = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.names.append(str(func))
            return super().__torch_function__(func, types, args, kwargs or {})

    codes = ops.tanh_quantize(torch.randn(3, 8).as_subclass(Named)).codes
    assert isinstance(codes, Named)
    assert any("tanh_quantize" in name for name in Named.names)


def test_a_traced_model_holds_the_operator(tmp_path):
    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 8)

        def forward(self, values):
            return ops.tanh_quantize(self.layer(values)).codes

    model, inputs = Encoder(), torch.randn(3, 4)
    traced = torch.jit.trace(model, inputs)
    assert "fasthash::tanh_quantize" in str(traced.graph)
    traced.save(str(tmp_path / "model.pt"))
    assert torch.equal(torch.jit.load(str(tmp_path / "model.pt"))(inputs), model(inputs))
