# SPDX-License-Identifier: Apache-2.0
"""Banks of earlier batches."""

from __future__ import annotations

import copy

import pytest
import torch
import torch._dynamo.testing

from fasthash.losses import CodeBank, CrossBatchLoss, DPSHLoss, OrderAwareTripletLoss


def batch(rows, bits=4, start=0):
    values = torch.arange(start, start + rows, dtype=torch.float32)[:, None].expand(rows, bits).clone()
    return values, torch.arange(rows) % 3


def test_by_index_keeps_the_latest_of_each_item():
    bank = CodeBank(6, 4)
    assert len(bank) == 0
    assert bank.embeddings().shape == (0, 4)
    rows, labels = batch(3)
    bank.update(rows, labels, torch.tensor([4, 0, 2]))
    assert torch.equal(bank.embeddings(), rows[[1, 2, 0]])
    assert torch.equal(bank.labels(), labels[[1, 2, 0]])
    bank.update(rows[:1] + 10, labels[:1], torch.tensor([2]))
    assert torch.equal(bank.embeddings()[1], rows[0] + 10)
    assert len(bank) == 3


def test_first_in_first_out():
    bank = CodeBank(5, 4)
    for start in (0, 2, 4):
        bank.update(*batch(2, start=start))
    assert len(bank) == 5
    assert bank.embeddings()[:, 0].tolist() == [5, 1, 2, 3, 4]
    assert int(bank.pointer) == 1
    bank.clear()
    assert len(bank) == 0
    assert len(bank.embeddings()) == 0


def test_all_of_it_is_saved_and_moves_on():
    bank = CodeBank(5, 4)
    bank.update(*batch(3))
    other = CodeBank(5, 4)
    other.load_state_dict(bank.state_dict())
    for each in (bank, other, copy.deepcopy(bank)):
        each.update(*batch(4, start=10))
        assert each.embeddings()[:, 0].tolist() == [12, 13, 2, 10, 11]
    full = CodeBank(2, 4)
    full.update(*batch(2))
    assert len(full.embeddings()) == 2
    full.load_state_dict(CodeBank(2, 4).state_dict())
    assert len(full.embeddings()) == 0


def test_multi_hot_labels_and_half_precision():
    bank = CodeBank(4, 3, classes=5)
    hot = torch.tensor([[1, 0, 0, 2, 0], [0, 0, 0, 0, 1]])
    bank.update(torch.ones(2, 3, dtype=torch.bfloat16), hot)
    assert torch.equal(bank.labels(), (hot > 0).to(torch.int8))
    assert bank.embeddings().dtype == torch.float32


def test_bad_input():
    bank = CodeBank(4, 3)
    for call, text in (
        (lambda: CodeBank(0, 3), "size must be >= 1"),
        (lambda: CodeBank(4, 3, classes=1), "classes must be > 1, or None for ids, got 1"),
        (lambda: bank.update(torch.ones(2, 3), torch.zeros(2)), "labels must be integer ids where 1-D"),
        (
            lambda: CodeBank(4, 3, classes=2).update(torch.ones(2, 3), torch.full((2, 2), torch.nan)),
            "labels must be finite, got 4 NaN",
        ),
        (lambda: bank.update(torch.ones(2, 4), torch.zeros(2)), r"embeddings must be of shape \(batch, 3\)"),
        (lambda: bank.update(torch.ones(2, 3), torch.zeros(3)), r"labels must be of shape \(2,\)"),
        (lambda: bank.update(torch.ones(5, 3), torch.arange(5)), "at most 4 rows"),
        (lambda: bank.update(torch.ones(2, 3), torch.arange(2), torch.tensor([0, 4])), r"indices must be in 0..3"),
        (lambda: bank.update(torch.ones(2, 3), torch.arange(2), torch.tensor([0])), r"indices must be of shape"),
        (lambda: bank.update(torch.ones(2, 3), torch.arange(2), torch.ones(2)), "indices must be a tensor of dtype"),
        (lambda: bank.update(torch.ones(2, 3), torch.tensor([0.0, 1.7])), "labels must be integer ids where 1-D"),
        (lambda: bank.update(torch.full((2, 3), torch.inf), torch.arange(2)), "embeddings must be finite, got 0 NaN"),
        (lambda: bank.update(torch.full((2, 3), torch.nan), torch.arange(2)), "embeddings must be finite, got 6 NaN"),
    ):
        with pytest.raises(ValueError, match=text):
            call()
    assert len(bank) == 0


def test_what_is_no_tensor_is_named():
    rows, labels = batch(2)
    for arguments, name in (
        ((rows.tolist(), labels), "embeddings"),
        ((rows, labels.tolist()), "labels"),
        ((rows, labels, [0, 1]), "indices"),
    ):
        with pytest.raises(TypeError, match=rf"^CodeBank: {name} must be a torch\.Tensor, got list$"):
            CodeBank(4, 4).update(*arguments)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_indices_of_any_integer_dtype(dtype):
    bank = CodeBank(4, 4)
    bank.update(*batch(2), torch.tensor([3, 1], dtype=dtype))
    assert bank.embeddings()[:, 0].tolist() == [1, 0]


def test_values_that_are_not_finite_are_kept_where_they_are_not_looked_for():
    bank = CodeBank(4, 4, check_finite=False)
    bank.update(torch.full((2, 4), torch.nan), torch.arange(2))
    assert bank.embeddings().isnan().all()


@pytest.mark.parametrize("inner", [DPSHLoss(), OrderAwareTripletLoss()], ids=["pairs", "triplets"])
def test_losses_against_a_bank(inner):
    torch.manual_seed(0)
    rows, labels = torch.randn(6, 8), torch.arange(6) % 2
    by_index = CrossBatchLoss(inner, CodeBank(10, 8))
    x = rows.clone().requires_grad_()
    loss = by_index(x, labels, torch.arange(4, 10))
    expected = inner(rows, labels, ref_emb=rows, ref_labels=labels)
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    fifo = CrossBatchLoss(inner, CodeBank(8, 8))
    torch.testing.assert_close(fifo(rows, labels), inner(rows, labels))
    torch.testing.assert_close(fifo(rows + 1, labels), inner(rows + 1, labels, ref_emb=rows, ref_labels=labels))
    assert len(fifo.bank) == 8
    assert {name.split(".")[-1] for name in fifo.state_dict()} == {"rows", "row_labels", "filled", "pointer"}


def test_backward_after_the_bank_has_changed():
    loss = CrossBatchLoss(DPSHLoss(), CodeBank(4, 8))
    rows, labels = torch.randn(4, 8), torch.arange(4) % 2
    loss(rows, labels)
    x = rows.clone().requires_grad_()
    first = loss(x, labels)
    loss(rows * 5, labels)
    first.backward()
    assert x.grad is not None


@pytest.mark.parametrize("by_index", [True, False])
@pytest.mark.parametrize("inner", [DPSHLoss(), OrderAwareTripletLoss()], ids=["pairs", "triplets"])
def test_a_full_bank_is_part_of_one_graph(inner, by_index):
    torch._dynamo.reset()
    torch.manual_seed(0)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    eager, traced = (CrossBatchLoss(inner, CodeBank(8, 16)) for _ in range(2))
    compiled = torch.compile(traced, fullgraph=True, backend=counter)
    labels = torch.arange(4) % 2
    with pytest.raises(RuntimeError, match="a CodeBank has one shape, and so one graph, only from where it is full"):
        compiled(torch.randn(4, 16), labels)
    for start in range(5):
        embeddings = torch.randn(4, 16, requires_grad=True)
        indices = torch.arange(4) * 2 + start % 2 if by_index else None
        calls = (eager, traced if start < 2 else compiled)
        losses = [call(embeddings, labels, indices) for call in calls]
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(*(torch.autograd.grad(loss, embeddings) for loss in losses))
        assert len(traced.bank) == min(4 * start + 4, 8)
    assert torch.equal(traced.bank.rows, eager.bank.rows)
    assert counter.frame_count == 1


def test_a_bank_that_fills_up_breaks_graphs():
    torch._dynamo.reset()
    eager, traced = (CrossBatchLoss(DPSHLoss(), CodeBank(8, 16)) for _ in range(2))
    compiled = torch.compile(traced, backend="aot_eager")
    for start in range(4):
        arguments = torch.randn(4, 16), torch.arange(4) % 2, torch.arange(4) * 2 + start % 2
        torch.testing.assert_close(compiled(*arguments), eager(*arguments))
