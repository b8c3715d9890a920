# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from fasthash.training import ConfigError, TrainConfig, load_config
from fasthash.training.config import differences, parse_setting
from fasthash.training.schedule import cosine_with_warmup, linear


def test_a_saved_configuration_reads_back(tmp_path):
    config = TrainConfig(
        data='a "b" ü', bits=48, loss="dsh", margin=10.5, loss_options={"quantization": 0.1}, flip=False
    )
    config.save(tmp_path / "config.toml")
    assert TrainConfig.from_mapping(load_config(tmp_path / "config.toml")) == config


def test_an_integer_will_do_for_a_float():
    assert TrainConfig.from_mapping({"margin": 8}).margin == 8.0
    assert TrainConfig().changed({"bits": 64}).bits == 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "run.toml: unknown key epoch; did you mean epochs?"),
        ({"qqq": 3}, "run.toml: unknown key qqq; known are data, bits"),
        ({"bits": "64"}, "run.toml: bits must be of type int, got '64'"),
        ({"bits": True}, "run.toml: bits must be of type int, got True"),
        ({"bits": 0}, "run.toml: bits must be between 1 and 65536, got 0"),
        ({"epochs": 0}, "run.toml: epochs must be at least 1, got 0"),
        ({"flip": 1}, "run.toml: flip must be of type bool, got 1"),
        ({"optimizer": "adam"}, 'run.toml: optimizer must be one of adamw, sgd, got "adam"'),
        ({"margin": [1]}, "run.toml: margin must be of type float, got [1]"),
        ({"loss": "hash_net"}, "run.toml: loss must be one of order_aware_triplet, triplet_margin"),
        ({"loss": "dpsh", "margin": 2.0}, "run.toml: margin is no option of loss dpsh; known are quantization, "),
        ({"loss": "dsh", "squared": False}, "run.toml: squared is no option of loss dsh; known are margin, "),
        ({"loss_options": {"gather": True}}, "run.toml: gather is no option of loss order_aware_triplet; known are"),
        (
            {"loss": "cosface", "loss_options": {"theirs": 1}},
            "run.toml: theirs is no option of loss cosface; known are",
        ),
        ({"loss_options": [1]}, "run.toml: loss_options must be of type dict, got [1]"),
        ({"model": "vgg"}, 'run.toml: model must be one of conv_small, resnet_small, resnet18, ddh, got "vgg"'),
    ],
)
def test_wrong_settings_are_named(values, message):
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_mapping(values, "run.toml")
    assert str(caught.value).startswith(message)


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(ConfigError, match="expected a TOML file, got no such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("bits = = 3")
    with pytest.raises(ConfigError, match=r"bad\.toml: expected a TOML file, got something else: .*line 1"):
        load_config(tmp_path / "bad.toml")


def test_only_what_changes_results_counts_as_a_difference():
    old = TrainConfig(data="a", workers=1, device="cpu")
    assert differences(old, TrainConfig(data="b", workers=2, log_every=9, cache_mb=1)) == []
    assert differences(old, TrainConfig(bits=64, margin=3.0)) == ["bits: was 32, is 64", "margin: was None, is 3.0"]


@pytest.mark.parametrize(
    ("setting", "parsed"),
    [
        ("loss_options={scale=0.5}", ("loss_options", {"scale": 0.5})),
        ("bits=64", ("bits", 64)),
        ("penalty=l1", ("penalty", "l1")),
        ("flip = false", ("flip", False)),
    ],
)
def test_settings_on_the_command_line(setting, parsed):
    assert parse_setting(setting) == parsed


def test_a_setting_without_a_value():
    with pytest.raises(ConfigError, match="--set must be KEY=VALUE, got bits"):
        parse_setting("bits")


def test_schedules():
    rates = [cosine_with_warmup(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] > 0
    assert rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001
    assert cosine_with_warmup(0, 1, 0.0) == 1
    assert [linear(step, 3, 1, 2) for step in range(3)] == [1, 1.5, 2]
    assert linear(0, 1, 1, 2) == 1
