# SPDX-License-Identifier: Apache-2.0
"""The README's Python examples run, one after the other, as a reader would type them."""

from __future__ import annotations

import re

import pytest

from tests.native import ROOT


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    namespace: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert (tmp_path / "codes.fasthash").is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
