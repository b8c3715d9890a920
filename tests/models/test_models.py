# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from fasthash import ops
from fasthash.losses import DDHLoss
from fasthash.models import PixelNorm, build_model, model_names
from fasthash.models.ddh import LocallyConnected

SIZES = [(1, 8, 8), (1, 8, 12), (3, 4, 5), (3, 32, 32), (3, 40, 30), (1, 66, 72)]


@pytest.mark.parametrize(
    ("name", "channels", "height", "width"),
    [("conv_small", *size) for size in SIZES] + [(name, *size) for name in model_names()[1:] for size in SIZES[3::2]],
)
def test_images_to_codes(name, channels, height, width):
    model = build_model(name, 12, in_channels=channels, image_size=(height, width), width=4)
    images = torch.randint(0, 256, (4, channels, height, width), dtype=torch.uint8)
    logits, codes, penalty = model(images)
    assert logits.shape == codes.shape == (4, 12)
    assert penalty.shape == ()
    (codes.sum() + penalty).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    packed = model.encode(images)
    assert torch.equal(packed, ops.pack_codes(model(images).logits))


def test_pixels_as_bytes_and_as_numbers_agree():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    norm = PixelNorm([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    assert torch.equal(norm(images), norm(images.float() / 255))
    expected = (images[1, 2, 0, 3].double() / 255 - 0.3) / 0.7
    assert norm(images)[1, 2, 0, 3].item() == pytest.approx(expected.item(), rel=1e-6)


def test_statistics_are_saved_with_the_network():
    model = build_model("conv_small", 8, in_channels=1, image_size=8, width=4)
    model.set_pixel_statistics([0.3], [0.2])
    other = build_model("conv_small", 8, in_channels=1, image_size=8, width=4)
    other.load_state_dict(model.state_dict())
    assert other.pixels.mean.item() == pytest.approx(0.3)
    with pytest.raises(ValueError, match="must have 1 numbers each"):
        model.set_pixel_statistics([0.3, 0.3], [0.2, 0.2])


def test_ddh_has_the_released_sizes():
    """Oracle: P3 and A4 of images of 32 x 32 are 60 x 3 x 3 and 80 x 2 x 2, 860 values together."""
    model = build_model("ddh", 48)
    shapes = []
    for stage in (model.backbone.convolutions, model.backbone.local, model.backbone.face):
        stage.register_forward_hook(lambda module, given, out: shapes.append(tuple(out.shape[1:])))
    logits = model(torch.rand(3, 3, 32, 32)).logits
    assert shapes == [(60, 3, 3), (80, 2, 2), (192,)]
    assert model.backbone.merged == model.backbone.face[0].in_features == 860
    assert logits.shape == (3, 48)
    assert model.hash.linear.weight.shape == (48, 4)  # four features for each bit


def test_a_locally_connected_stage_is_a_convolution_at_each_place():
    torch.manual_seed(0)
    stage, images = LocallyConnected(3, 5, (4, 6)), torch.randn(2, 3, 4, 6)
    torch.nn.init.normal_(stage.bias)
    found = stage(images)
    assert found.shape == (2, 5, 3, 5)
    for y in range(3):
        for x in range(5):
            weight = stage.weight[y * 5 + x].view(5, 3, 2, 2)
            expected = functional.conv2d(images[:, :, y : y + 2, x : x + 2], weight, stage.bias[:, y * 5 + x])
            torch.testing.assert_close(found[:, :, y, x], expected[:, :, 0, 0])


def test_ddh_learns_with_its_loss():
    torch.manual_seed(0)
    model, labels = build_model("ddh", 12, width=4), torch.arange(4).repeat_interleave(8)
    images = torch.rand(4, 3, 32, 32)[labels] * 0.7 + torch.rand(32, 3, 32, 32) * 0.3
    loss = DDHLoss(4, 12)
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=0.01)
    for _ in range(30):
        value = loss(model(images).codes, labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert value.item() < 0.7  # log 4 by chance
    logits = loss.get_logits(model.eval()(images).codes)
    assert (logits.argmax(1) == labels).float().mean() > 0.9


def test_hash_options_reach_the_layer():
    model = build_model("conv_small", 8, batch_norm=True, penalty="l1", sharpness=3.0)
    assert model.hash.norm is not None
    assert model.hash.penalty == "l1"
    assert model.hash.sharpness.item() == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "conv_smal"}, r'got "conv_smal"; did you mean "conv_small"\?'),
        ({"name": "conv_small", "in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"name": "resnet18", "width": 0}, "width must be at least 1, got 0"),
        ({"name": "resnet18", "bits": 0}, "bits"),
        ({"name": "ddh", "bits": 0}, "bits"),
        ({"name": "ddh", "image_size": 23}, "image_size must be at least 24 for ddh, got 23"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(**{"bits": 8, **arguments})


def test_images_of_other_channels_are_refused():
    model = build_model("conv_small", 8, in_channels=3)
    with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got \(2, 1, 32, 32\)"):
        model(torch.zeros(2, 1, 32, 32))
