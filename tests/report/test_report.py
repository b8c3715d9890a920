# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import torch

from fasthash.data import digits
from fasthash.report import Method, Report, choose_examples, render, save_picture, write_report
from fasthash.training.evaluation import Scores, measure
from fasthash.types import HammingTopK

SPLITS = digits()


def _report():
    ids = torch.arange(3).repeat(len(SPLITS.test), 1)
    examples = choose_examples(SPLITS.test, SPLITS.train, HammingTopK(torch.zeros_like(ids).int(), ids))
    scores = Scores(0.9, 0.8, 0.7, [0.5, 1.0], [0.9, 0.1])
    return Report(
        title="Codes & <images>",
        summary="a summary",
        methods=[Method("own", scores, 1234.5), Method("other", scores, 1.0)],
        examples=examples,
        records=[{"step": 1, "term": 3.0, "penalty": 0.5}, {"step": 2, "term": 0.0, "penalty": 0.4}],
        share_of_ones=torch.rand(16),
        facts=[("device", "<cpu>")],
    )


def test_examples_are_one_of_each_class_and_the_worst():
    report = _report()
    assert [example.label for example in report.examples[:10]] == [str(digit) for digit in range(10)]
    assert len(report.examples) == 12
    truth = [int(SPLITS.train.labels[position]) for position in range(3)]
    assert [hit.right for hit in report.examples[0].hits] == [label == 0 for label in truth]
    assert report.examples[-1].wrong == 3


def test_the_page_is_whole_and_needs_nothing_else(tmp_path):
    report = _report()
    page = render(report)
    assert page == render(report)
    assert "Codes &amp; &lt;images&gt;" in page
    assert "&lt;cpu&gt;" in page
    assert "1,234" in page
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert page.count('class="tile wrong"') == sum(example.wrong for example in report.examples)
    write_report(report, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == page


def test_the_picture(tmp_path):
    save_picture(_report(), tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_measure_of_perfect_and_of_useless_codes():
    labels = torch.arange(4).repeat_interleave(5)
    perfect = torch.tensor([0x00, 0x0F, 0xF0, 0xFF], dtype=torch.uint8)[labels][:, None]
    scores = measure(perfect, perfect, labels, labels)
    assert scores.mean_average_precision == 1
    assert scores.precision_within_radius_2 == 1
    assert scores.recall[0] == 1
    assert scores.precision_at_recall(0.5) == 1
    useless = measure(perfect * 0, perfect * 0, labels, labels)
    assert useless.precision_at_10 == 0.25
    assert useless.precision_at_recall(0.9) == 0.25
