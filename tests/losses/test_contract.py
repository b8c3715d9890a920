# SPDX-License-Identifier: Apache-2.0
"""What every loss keeps to, whatever it computes: see contract.py."""

from __future__ import annotations

import copy
import inspect
import math

import pytest
import torch
import torch._dynamo.testing

from fasthash import losses
from tests.losses.contract import BITS, LOSSES, OTHERS, batch, call, value_and_gradient

NAMES = sorted(LOSSES)
PAIRS = [name for name in NAMES if LOSSES[name].pairs and not LOSSES[name].needs_items]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch")


def options_of(name):
    return inspect.signature(getattr(losses, name).__init__).parameters


def test_every_exported_loss_is_in_the_catalog():
    classes = {name for name in losses.__all__ if inspect.isclass(getattr(losses, name))}
    assert classes == set(LOSSES) | OTHERS


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_those_of_pytorch_metric_learning(name):
    entry = LOSSES[name]
    expected = ["self", "embeddings", "labels", "indices_tuple", "ref_emb", "ref_labels"]
    assert list(inspect.signature(getattr(losses, name).forward).parameters)[:6] == expected
    value, gradients = value_and_gradient(entry, entry(), *batch(entry))
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gives_the_same_in_float64(name):
    entry = LOSSES[name]
    if "backend" not in options_of(name):
        pytest.skip(f"{name} is plain PyTorch")
    embeddings, labels = batch(entry, dtype=torch.float64)
    ours, reference = (
        value_and_gradient(entry, entry(backend=backend).double(), embeddings, labels)
        for backend in ("fused", "reference")
    )
    torch.testing.assert_close(ours, reference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half_precisions_are_computed_in_float32(name, dtype):
    entry = LOSSES[name]
    embeddings, labels = batch(entry, dtype=dtype)
    wide = embeddings.detach().float().requires_grad_()
    expected, gradients = value_and_gradient(entry, entry(), wide, labels)
    value, found = value_and_gradient(entry, entry(), embeddings, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert found[0].dtype == dtype
    largest = gradients[0].abs().max().item()
    torch.testing.assert_close(found[0].float(), gradients[0], rtol=2e-2, atol=1e-2 * largest)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(call(entry, entry(), wide, labels).float(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_graph_for_changing_batches(name):
    entry = LOSSES[name]
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    loss = entry()
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=counter)
    for rows in (24, 33, 20):
        embeddings, labels = batch(entry, rows)
        torch.testing.assert_close(call(entry, compiled, embeddings, labels), call(entry, loss, embeddings, labels))
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_saved_states_give_the_same(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    loss = entry()
    call(entry, loss, embeddings, labels)
    expected = call(entry, copy.deepcopy(loss).eval(), embeddings, labels)
    torch.manual_seed(9)
    other = entry.make(**entry.options)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(call(entry, other.eval(), embeddings, labels), expected)


@pytest.mark.parametrize("name", NAMES)
def test_repeated_calls_and_any_number_of_threads_give_the_same(name, threads):
    entry = LOSSES[name]
    embeddings, labels = batch(entry, 150)
    threads(1)
    expected, gradients = value_and_gradient(entry, entry(), embeddings, labels)
    for count in (1, 2, 7):
        threads(count)
        value, found = value_and_gradient(entry, entry(), embeddings, labels)
        if count == 1 or not entry.loose:
            assert torch.equal(value, expected)
            assert all(torch.equal(a, b) for a, b in zip(found, gradients, strict=True))
        torch.testing.assert_close((value, found), (expected, gradients), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_one_sided_batches_have_a_value(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    same = embeddings.detach()[:1].expand(24, -1).clone().requires_grad_()
    for rows, ids in (
        (embeddings[:1].detach().requires_grad_(), labels[:1]),
        (embeddings[:2].detach().requires_grad_(), torch.tensor([0, 1])),
        (embeddings, torch.zeros_like(labels)),
        (same, labels),
    ):
        value, gradients = value_and_gradient(entry, entry(), rows, ids)
        assert value.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(name, value):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    bad = embeddings.detach().clone()
    bad[3, 2] = value
    with pytest.raises(ValueError, match=rf"^{name}: embeddings must .*(finite|NaN|\[-1, 1\])"):
        call(entry, entry(), bad, labels)


@pytest.mark.parametrize("name", NAMES)
def test_bad_batches_are_named(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    items = (None, embeddings.detach().sign(), labels) if entry.needs_items else ()
    with pytest.raises(ValueError, match=f"^{name}: embeddings must "):
        entry()(torch.zeros(0, BITS), labels[:0], *items)
    with pytest.raises(ValueError, match=f"^{name}: embeddings must "):
        entry()(torch.zeros(BITS), labels[:1], *items)
    with pytest.raises(ValueError, match=f"^{name}: embeddings must "):
        entry()(torch.zeros(24, BITS, dtype=torch.int32), labels, *items)
    with pytest.raises(ValueError, match=f"^{name}: labels must "):
        entry()(embeddings, labels[:7], *items)


@pytest.mark.parametrize("name", PAIRS)
def test_a_gallery_takes_the_place_of_the_batch(name):
    entry = LOSSES[name]
    embeddings, labels = batch(entry)
    gallery, gallery_labels = batch(entry, 40, seed=1)
    value = entry()(embeddings, labels, None, gallery, gallery_labels)
    gradients = torch.autograd.grad(value, [embeddings, gallery])
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    with pytest.raises(ValueError, match=f"^{name}: "):
        entry()(embeddings, labels, None, gallery)
    with pytest.raises(ValueError, match=f"^{name}: "):
        entry()(embeddings, labels, None, gallery[:, :8], gallery_labels)
