# SPDX-License-Identifier: Apache-2.0
"""The tables: made from result files, and the committed pages are what the committed files give."""

from __future__ import annotations

import pytest

from bench import report, results


def row(library, median, *, op="hamming_topk", threads=1, k=10, agrees=True, **changes):
    case = {"bits": 64, "N": 1_000_000, "Q": 1, "k": k, "data": "random"}
    sizes = {"unit": "comparisons", "bytes": 8_000_000, "work": 1_000_000, "limit": "read"}
    times = {"median": median, "iqr": median / 10, "min": median, "medians": [median] * 3, "calls": 300}
    told = {"headline": k == 10, "share": 0.5 if library == "fasthash" else None, "agrees": agrees}
    return {"op": op, "case": case, "library": library, "threads": threads, **sizes, **times, **told, **changes}


def result(*rows, quick=False, **changes):
    machine = {"name": "some-cpu", "cpu": "Some CPU", "variant": "avx2", "gpu": None}
    return {
        "format": results.FORMAT,
        "machine": machine,
        "date": "2026-01-02T03:04:05+00:00",
        "commit": {"id": "0123456789abcdef", "changed": False},
        "versions": {"fasthash": "0.1.0", "torch": "2.13.0"},
        "settings": {"threads": [1], "rounds": 3, "quick": quick, "seconds": 60},
        "limits": [{"name": "read", "threads": 1, "bytes": 1 << 23, "per_second": 16e9}],
        "rows": list(rows),
        "missing": [],
        **changes,
    }


def cells(table, name):
    line = next(line for line in table.splitlines() if name in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_shows_time_ratios_rate_and_share():
    rows = [row("fasthash", 1e-3), row("faiss_hc", 4e-3), row("faiss_mc", 12.345e-3)]
    table = report.section([result(*rows)])
    assert cells(table, "threads")[2:] == ["fasthash", "Faiss hc", "Faiss mc", "rate", "limit"]
    case = "bits 64, N 1 M, Q 1, k 10, data random"
    assert cells(table, "bits 64") == [case, "1", "1 ms", "×4.0", "×12", "8 GB/s", "50% of read"]


def test_ratios_below_one_are_shown():
    table = report.section([result(row("fasthash", 2e-3), row("torch", 1.5e-3))])
    assert "×0.75" in cells(table, "bits 64")


def test_a_peer_with_another_result_is_marked():
    table = report.section([result(row("fasthash", 1e-3), row("torch", 2e-3, agrees=False))])
    assert "×2.0 (other result)" in cells(table, "bits 64")


def test_ratio_pairs_the_rounds():
    ours = row("fasthash", 2.0, medians=[1.0, 2.0, 4.0])
    peer = row("torch", 6.0, medians=[3.0, 6.0, 13.0])
    assert report.ratio(ours, peer) == 3.0
    assert report.ratio(ours, {**peer, "medians": [6.0]}) == 3.0


def test_what_was_not_measured_is_a_dash():
    rows = [row("fasthash", 1e-3), row("torch", 2e-3), row("fasthash", 1e-3, k=100)]
    page = report.page([result(*rows)])
    assert cells(page, "k 100")[3] == "–"


def test_a_peer_alone_shows_its_time():
    assert "2 s" in cells(report.page([result(row("torch", 2.0))]), "bits 64")


def test_readme_holds_headline_cases_only_and_the_page_all():
    rows = [row("fasthash", 1e-3), row("fasthash", 1e-3, k=100)]
    assert "k 100" not in report.section([result(*rows)])
    assert "k 100" in report.page([result(*rows)])


def test_quick_results_stay_out_of_the_readme():
    quick = result(row("fasthash", 1e-3), quick=True)
    assert "No benchmark results yet" in report.section([quick])
    assert "mean nothing" in report.page([quick])


def test_without_results_the_pages_say_so():
    assert "make bench" in report.section([])
    assert "make bench" in report.page([])


def test_stages_and_missing_libraries_are_listed():
    stages = [{"name": "memcheck-ops", "outcome": "failed", "seconds": 7.0, "status": 99, "tail": ["an error"]}]
    missing = [{"op": "hamming_topk", "library": "faiss_hc", "reason": "No module named 'faiss'"}]
    page = report.page([result(row("fasthash", 1e-3, wall=2e-3), stages=stages, missing=missing)])
    assert cells(page, "memcheck-ops") == ["memcheck-ops", "failed", "7 s"]
    assert "not measured: hamming_topk, faiss_hc: No module named 'faiss'" in page
    assert cells(page, "bits 64")[-1] == "2 ms"


@pytest.mark.parametrize("text", ["no markers", f"{report.END} {report.BEGIN}", f"{report.BEGIN}{report.END}" * 2])
def test_a_readme_without_its_markers_is_refused(text):
    with pytest.raises(ValueError, match="once each"):
        report.with_section(text, "table\n")


def test_update_changes_only_what_lies_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nstale text\n{report.END}\nafter\n")
    folder = tmp_path / "results"
    results.write(folder / "some-cpu.json", result(row("fasthash", 1e-3)))
    report.update(folder, readme)
    assert readme.read_text().startswith(f"before\n{report.BEGIN}\n")
    assert readme.read_text().endswith(f"{report.END}\nafter\n")
    assert "stale text" not in readme.read_text()
    assert report.stale(folder, readme) == []


def test_committed_pages_are_what_the_committed_results_give():
    assert report.stale() == [], "run `python -m bench.report`"
