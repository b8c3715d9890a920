# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn

from fasthash.losses import BinaryLoss, GreedyHashLoss, OrderAwareTripletLoss
from fasthash.nn import Continuation, HashActivation, HashLayer, ScheduleDriver, Stepwise


class Contrast(nn.Module):
    """A loss of two columns of codes that remembers what it was called with."""

    def forward(self, embeddings, *others):
        self.seen = (embeddings, *others)
        return embeddings.square().mean()


class Encoder(nn.Module):
    """A model as sentence-transformers have it: features in, the same with an embedding out."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 8)

    def forward(self, features):
        return {**features, "sentence_embedding": self.linear(features["values"])}


class PairLoss(nn.Module):
    """A loss as sentence-transformers have it."""

    def __init__(self, model, parts=False):
        super().__init__()
        self.model, self.parts = model, parts

    def forward(self, sentence_features, labels):
        first, second = (self.model(each)["sentence_embedding"] for each in sentence_features)
        self.seen = first, second
        loss = ((first * second).mean(1) - labels).square().mean()
        return {"pair": loss} if self.parts else loss


def batch(rows=10, width=12, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
    return values.requires_grad_(), torch.arange(rows) % 3


def columns():
    generator = torch.Generator().manual_seed(0)
    return [{"values": torch.randn(6, 5, generator=generator)} for _ in range(2)], torch.tensor([1.0, -1, 0, 1, 1, -1])


def test_codes_of_normalized_embeddings_and_their_penalty():
    embeddings, labels = batch(dtype=torch.float64)
    codes = torch.tanh(embeddings / embeddings.norm(dim=1, keepdim=True) * math.sqrt(12))
    expected = OrderAwareTripletLoss()(codes, labels) + 0.1 * (codes.abs() - 1).square().mean()
    torch.testing.assert_close(BinaryLoss(OrderAwareTripletLoss())(embeddings, labels), expected)
    loss = BinaryLoss(Contrast(), HashActivation(amplifier="none"))
    assert torch.autograd.gradcheck(lambda each: loss(each, labels), embeddings)


def test_a_hash_layer_has_its_own_bits_and_learns():
    embeddings, labels = batch()
    loss = BinaryLoss(OrderAwareTripletLoss(), HashLayer(12, 32, sharpness=2.0), quantization=0.5)
    out = loss.hash_layer(embeddings)
    expected = OrderAwareTripletLoss()(out.codes, labels) + 0.5 * out.penalty
    torch.testing.assert_close(loss(embeddings, labels), expected)
    loss(embeddings, labels).backward()
    assert all(each.grad.abs().sum() > 0 for each in loss.parameters())
    assert torch.equal(loss.encode(embeddings), loss.hash_layer.encode(embeddings))
    assert loss.encode(embeddings).shape == (10, 4)


def test_without_a_layer_codes_are_the_signs():
    embeddings, _ = batch()
    packed = BinaryLoss(Contrast()).encode(embeddings)
    assert torch.equal(packed, torch.from_numpy(np.packbits(embeddings.detach().numpy() >= 0, axis=1)))


def test_the_inner_loss_is_called_with_what_was_given():
    embeddings, labels = batch()
    items, item_labels = batch(7)
    inner = Contrast()
    loss = BinaryLoss(inner)
    loss(embeddings)
    assert len(inner.seen) == 1
    loss(embeddings, labels)
    assert inner.seen[1] is labels
    assert len(inner.seen) == 2
    loss(embeddings, labels, None, items, item_labels)
    codes, given, indices, ref_codes, ref_labels = inner.seen
    assert (given is labels, indices, ref_labels is item_labels) == (True, None, True)
    torch.testing.assert_close(ref_codes, loss.hash_layer(items).codes)
    loss(embeddings, labels, None, embeddings, labels)
    assert inner.seen[3] is inner.seen[0]
    assert codes.abs().max() <= 1


def test_no_penalty_is_no_term():
    embeddings, labels = batch()
    codes = HashActivation()(embeddings).codes
    found = BinaryLoss(OrderAwareTripletLoss(), quantization=0)(embeddings, labels)
    assert found == OrderAwareTripletLoss()(codes, labels)
    layer = HashActivation(penalty="none")
    assert BinaryLoss(OrderAwareTripletLoss(), layer)(embeddings, labels) == found


def test_sharpness_follows_the_schedule_in_training_and_is_saved():
    embeddings, _ = batch()
    loss = BinaryLoss(Contrast(), schedule=Stepwise({0: 1.0, 2: 3.0}))
    sharpness = []
    for _ in range(3):
        loss(embeddings)
        sharpness.append(float(loss.hash_layer.sharpness))
    assert sharpness == [1.0, 1.0, 3.0]
    other = BinaryLoss(Contrast(), schedule=Stepwise({0: 1.0, 2: 3.0}))
    other.load_state_dict(loss.state_dict())
    assert (other.steps, float(other.hash_layer.sharpness)) == (3, 3.0)
    loss.inner.seen = ()
    twin = copy.deepcopy(loss)
    twin.eval()
    twin(embeddings)
    assert (twin.steps, loss.steps) == (3, 3)
    loss.set_sharpness(7.0)
    assert (float(twin.hash_layer.sharpness), float(loss.hash_layer.sharpness)) == (3.0, 7.0)
    assert BinaryLoss(Contrast(), schedule=Continuation(every=1, rate=3.0)).hash_layer.sharpness == 1


def test_a_driven_sharpness_keeps_one_graph():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    embeddings, labels = batch()
    loss = BinaryLoss(OrderAwareTripletLoss())
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    driver = ScheduleDriver(Continuation(every=1, rate=3.0), loss.set_sharpness)
    for _ in range(3):
        torch.testing.assert_close(compiled(embeddings, labels), loss(embeddings, labels))
        driver.step()
    assert counter.frame_count == 1


def test_columns_of_features_become_codes_on_their_way():
    features, labels = columns()
    model = Encoder()
    inner = PairLoss(model)
    loss = BinaryLoss(inner, quantization=0.3)
    value = loss(features, labels)
    codes = [HashActivation()(model(each)["sentence_embedding"]) for each in features]
    assert all(torch.equal(*pair) for pair in zip(inner.seen, (each.codes for each in codes), strict=True))
    expected = ((codes[0].codes * codes[1].codes).mean(1) - labels).square().mean()
    torch.testing.assert_close(value, expected + 0.3 * (codes[0].penalty + codes[1].penalty) / 2)
    value.backward()
    assert model.linear.weight.grad.abs().sum() > 0
    assert loss.model is model
    assert "sentence_embedding" not in features[0]
    assert not model._forward_hooks


def test_parts_of_a_loss_get_another():
    features, labels = columns()
    found = BinaryLoss(PairLoss(Encoder(), parts=True))(features, labels)
    assert set(found) == {"pair", "quantization"}


def test_the_model_is_left_as_it_was_where_the_inner_loss_fails():
    features, labels = columns()
    model = Encoder()
    with pytest.raises(RuntimeError):
        BinaryLoss(PairLoss(model))(features, labels[:2])
    assert not model._forward_hooks


def test_gradient_caches_are_refused():
    inner = PairLoss(Encoder())
    inner.uses_gradient_cache = True
    text = "BinaryLoss: inner must be a loss without gradient cache, which embeds once more in backward, got PairLoss"
    with pytest.raises(ValueError, match=text):
        BinaryLoss(inner)(*columns())


def test_what_is_refused():
    embeddings, labels = batch()
    with pytest.raises(ValueError, match="quantization must be a finite number >= 0, got -1"):
        BinaryLoss(Contrast(), quantization=-1)
    with pytest.raises(ValueError, match="schedule must be None for a hash_layer without set_sharpness"):
        BinaryLoss(Contrast(), nn.Identity(), schedule=Continuation())
    with pytest.raises(ValueError, match="embeddings must be a tensor where the inner loss has no model, got list"):
        BinaryLoss(Contrast())([{}], labels)
    for inner in (None, "contrastive", Contrast):
        with pytest.raises(ValueError, match=r"^BinaryLoss: inner must be a loss, not its class, got "):
            BinaryLoss(inner)
    for layer in (64, HashLayer):
        with pytest.raises(ValueError, match=r"^BinaryLoss: hash_layer must be None or a layer, not its class, got "):
            BinaryLoss(Contrast(), layer)
    text = (
        r"hash_layer must be a module that returns a HashOutput, as fasthash.nn.HashLayer does, got one that returns "
    )
    for given in ((embeddings.detach(),), columns()):
        inner = Contrast() if len(given) == 1 else PairLoss(Encoder())
        with pytest.raises(ValueError, match=rf"^BinaryLoss: {text}Tensor$"):
            BinaryLoss(inner, nn.Identity())(*given)
    assert not hasattr(BinaryLoss(Contrast()), "model")
    with torch.no_grad():
        embeddings[3, 4] = math.nan
    with pytest.raises(ValueError, match="BinaryLoss: embeddings must be finite, got 1 NaN"):
        BinaryLoss(Contrast())(embeddings, labels)
    assert BinaryLoss(Contrast(), check_finite=False)(embeddings, labels).isnan()
    features, labels = columns()
    features[1]["values"][0, 0] = math.nan
    with pytest.raises(ValueError, match="BinaryLoss: embeddings must be finite, got 8 NaN"):
        BinaryLoss(PairLoss(Encoder()))(features, labels)


def test_a_loss_over_logits_takes_the_codes_for_them():
    """GreedyHash reads signs, and codes have those of their logits."""
    embeddings, labels = batch()
    torch.manual_seed(0)
    inner = GreedyHashLoss(3, 12, penalty_weight=0.0)
    torch.testing.assert_close(BinaryLoss(inner, quantization=0)(embeddings, labels), inner(embeddings, labels))


def test_metric_learning():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    embeddings, labels = batch()
    for inner in (losses.MultiSimilarityLoss(), losses.TripletMarginLoss(), losses.NTXentLoss()):
        codes, penalty = HashActivation()(embeddings)[1:]
        expected = inner(codes, labels) + 0.1 * penalty
        found = BinaryLoss(inner)(embeddings, labels)
        torch.testing.assert_close(found, expected)
        assert torch.autograd.grad(found, embeddings)[0].abs().sum() > 0


def word_model():
    """A model of word vectors, nothing to download, its words, two synonyms after one another, and the losses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sentence_transformer = pytest.importorskip("sentence_transformers.sentence_transformer")
        from sentence_transformers.sentence_transformer import losses, modules
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [f"{kind}{number}" for number in range(12) for kind in ("a", "b")]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="a0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    model = sentence_transformer.model.SentenceTransformer(
        modules=[modules.StaticEmbedding(tokenizer, embedding_dim=32)], device="cpu"
    )
    return model, words, losses


@pytest.mark.filterwarnings("ignore")
def test_sentence_transformers():
    """Pairs of synonyms get codes nearer to each other than others."""
    model, words, losses = word_model()
    loss = BinaryLoss(losses.MultipleNegativesRankingLoss(model), schedule=Continuation(rate=0.05, every=1))
    assert loss.model is model
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    for _ in range(100):
        value = loss([model.preprocess(words[0::2]), model.preprocess(words[1::2])], None)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    codes = loss.encode(torch.as_tensor(model.encode(words))).numpy()
    bits = np.unpackbits(codes, axis=1).astype(int)
    distances = (bits[0::2, None] != bits[None, 1::2]).sum(2)
    assert (distances.argmin(1) == np.arange(12)).all()
    assert distances.diagonal().mean() < 12  # 16 by chance


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inside", [True, False])
def test_truncated_embeddings_have_codes_without_a_layer(inside):
    """MatryoshkaLoss within, and around."""
    model, words, losses = word_model()
    features = [model.preprocess(words[0::2]), model.preprocess(words[1::2])]

    def made(layer):
        ranking = losses.MultipleNegativesRankingLoss(model)
        if inside:
            return BinaryLoss(losses.MatryoshkaLoss(model, ranking, [32, 8]), layer, quantization=0.0)
        return losses.MatryoshkaLoss(model, BinaryLoss(ranking, layer, quantization=0.0), [32, 8])

    value = made(None)([dict(each) for each in features], None)
    expected = 0.0
    for width in (32, 8):
        codes = [
            HashActivation()(nn.functional.normalize(model(dict(each))["sentence_embedding"][:, :width])).codes
            for each in features
        ]
        scores = 20 * nn.functional.normalize(codes[0]) @ nn.functional.normalize(codes[1]).T
        expected = expected + nn.functional.cross_entropy(scores, torch.arange(12))
    torch.testing.assert_close(value, expected)
    text = (
        r"embeddings must be of 32 columns for hash_layer \(losses that truncate, like MatryoshkaLoss, work without one"
    )
    with pytest.raises(ValueError, match=rf"^BinaryLoss: {text}.*, got 8$"):
        made(HashLayer(32, 16))([dict(each) for each in features], None)
