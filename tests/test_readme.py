# SPDX-License-Identifier: Apache-2.0
"""The Python examples of the README and of docs/ run, one after the other, as a reader would type them."""

from __future__ import annotations

import re

import pytest

from fasthash import losses
from tests.native import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKS = [(page, link) for page in PAGES for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) >= 4
    namespace: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), namespace)
    if page.name == "README.md":
        assert (tmp_path / "codes.fasthash").is_file()


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}-{link}" for page, link in LINKS])
def test_links_lead_somewhere(page, link):
    assert (page.parent / link).exists()


def test_every_loss_is_described():
    text = (ROOT / "docs" / "losses.md").read_text()
    described = set(re.findall(r"`(\w+)", text))
    assert {name for name in losses.__all__ if name[0].isupper()} <= described
