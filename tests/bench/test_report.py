# SPDX-License-Identifier: Apache-2.0
"""The tables: made from result files, and the committed pages are what the committed files give."""

from __future__ import annotations

import pytest

from bench import report, results, tables


def row(library, median, *, op="hamming_topk", threads=1, k=10, agrees=True, **changes):
    case = {"bits": 64, "N": 1_000_000, "Q": 1, "k": k, "data": "random"}
    sizes = {"unit": "comparisons", "bytes": 8_000_000, "work": 1_000_000, "limit": "read"}
    times = {"median": median, "iqr": median / 10, "min": median, "medians": [median] * 3, "calls": 300}
    told = {"headline": k == 10, "share": 0.5 if library == "fasthash" else None, "agrees": agrees}
    what = {"run": 1, "op": op, "case": case, "library": library, "threads": threads}
    return {**what, **sizes, **times, **told, **changes}


def run(number=1, commit="0123456789abcdef", quick=False):
    return {
        "number": number,
        "date": "2026-01-02T03:04:05+00:00",
        "commit": {"id": commit, "changed": False},
        "versions": {"fasthash": "0.1.0", "torch": "2.13.0"},
        "settings": {"threads": [1], "rounds": 3, "quick": quick, "seconds": 60},
    }


def result(*rows, quick=False, **changes):
    machine = {"name": "some-cpu", "cpu": "Some CPU", "variant": "avx2", "gpu": None}
    return {
        "format": results.FORMAT,
        "machine": machine,
        "runs": [run(quick=quick)],
        "limits": [{"run": 1, "name": "read", "threads": 1, "bytes": 1 << 23, "per_second": 16e9}],
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
    assert cells(table, "| threads")[2:] == ["fasthash", "Faiss", "rate", "limit"]
    case = "bits 64, N 1 M, Q 1, k 10, data random"
    assert cells(table, "bits 64") == [case, "1", "1 ms", "×4.0 hc", "8 GB/s", "50% of read"]


def test_ratios_below_one_are_shown():
    text = report.section([result(row("fasthash", 2e-3), row("torch", 1.5e-3))])
    assert "**×0.75**" in cells(text, "bits 64")
    assert "faster one in 1 of 1 comparisons" in text
    assert "- hamming_topk, bits 64, N 1 M, Q 1, k 10, data random, threads 1: torch ×0.75\n" in report.page(
        [result(row("fasthash", 2e-3), row("torch", 1.5e-3))]
    )


def test_other_ways_of_using_fasthash_are_no_losses():
    text = report.page([result(row("fasthash", 2e-3), row("fasthash_rows", 1.5e-3))])
    assert "×0.75" in cells(text, "bits 64")
    assert "faster one in 0 of 0 comparisons." in text


def test_a_peer_with_another_result_is_marked():
    table = report.section([result(row("fasthash", 1e-3), row("torch", 2e-3, agrees=False))])
    assert "×2.0 (other result)" in cells(table, "bits 64")
    incomparable = report.section([result(row("fasthash", 1e-3), row("torch", 2e-3, agrees=None))])
    assert "×2.0" in cells(incomparable, "bits 64")


def test_ratio_pairs_the_rounds():
    ours = row("fasthash", 2.0, medians=[1.0, 2.0, 4.0])
    peer = row("torch", 6.0, medians=[3.0, 6.0, 13.0])
    assert tables.ratio(ours, peer) == 3.0
    assert tables.ratio(ours, {**peer, "medians": [6.0]}) == 3.0


def test_at_avx2_both_sides_are_held_to_it():
    rows = [row("fasthash", 1e-3), row("fasthash_avx2", 4e-3), row("faiss_hc_avx2", 12e-3), row("faiss_mc_avx2", 9e-3)]
    text = report.section([result(*rows)])
    assert cells(text, "| threads")[3:5] == ["Faiss, both at AVX2", "at AVX2"]
    assert cells(text, "| bits 64")[3:5] == ["×2.2 mc", "×4.0"]


def test_threads_that_share_a_core_are_marked():
    rows = [row("fasthash", 1e-3, threads=2, cores=1.98), row("faiss_hc", 4e-3, threads=2, cores=1.01)]
    assert cells(report.page([result(*rows)]), "| bits 64")[1:4] == ["2", "1 ms", "×4.0 hc (1.0 cores)"]


def search(op, bits, library, median, threads=1, **case):
    case = {"bits": bits, **case}
    return row(library, median, op=op, threads=threads, case=case, work=10**9, limit="scan", headline=False)


def test_searches_in_short():
    size = {"N": 1_000_000, "Q": 1000, "k": 100, "data": "clustered"}
    times = {
        ("fasthash", 1): 2.0,
        ("faiss_hc", 1): 9.0,
        ("faiss_mc", 1): 8.0,
        ("fasthash", 2): 1.0,
        ("faiss_mc", 2): 5.0,
    }
    rows = [search("hamming_topk", 32, library, t, n, **size) for (library, n), t in times.items()]
    one = {"N": 1_000_000, "k": 10}
    rows += [
        search("hamming_topk_one", 512, library, t, **one) for library, t in (("fasthash", 2.0), ("faiss_hc", 1.0))
    ]
    text = report.section([result(*rows)])
    assert cells(text, "clustered") == ["32", "clustered", "×4.0 / ×5.0"]
    assert cells(text, "| 512") == ["512", "1 M", "**×0.5**", "50% of popcount scan limit"]


def test_cases_beside_related_ones():
    size = {"N": 1_000_000, "Q": 1000, "k": 10, "data": "clustered"}
    rows = [search("hamming_topk", bits, "fasthash", t, **size) for bits, t in ((128, 2.0), (100, 2.1))]
    rows += [search("some_op", 64, "fasthash", t, **size, allow=allow) for allow, t in (("all", 2.0), ("1 %", 1.0))]
    text = report.page([result(*rows)])
    assert cells(text, "| hamming_topk, bits 100")[1:] == ["1", "bits 128", "1.05 times"]
    assert cells(text, "| some_op, bits 64")[1:] == ["1", "allow all", "0.50 times"]


def test_each_run_is_told_with_its_ops_and_limits():
    rows = [row("fasthash", 1e-3), row("fasthash", 1e-3, op="pack_codes", run=2)]
    limits = [{"run": n, "name": "scan", "bits": 64, "threads": 1, "per_second": n * 1e9} for n in (1, 2)]
    text = report.page([result(*rows, runs=[run(), run(2, "fedcba9876543210")], limits=limits)])
    assert "- hamming_topk: 2026-01-02, commit 0123456789, fasthash 0.1.0, torch 2.13.0.\n" in text
    assert "- pack_codes: 2026-01-02, commit fedcba9876," in text
    assert cells(text.partition("measured with pack_codes")[2], "popcount scan") == [
        "popcount scan",
        "64 bits",
        "1",
        "2 G comparisons/s",
    ]


def test_what_was_not_measured_is_a_dash():
    rows = [row("fasthash", 1e-3), row("torch", 2e-3), row("fasthash", 1e-3, k=100)]
    page = report.page([result(*rows)])
    assert cells(page, "k 100")[3] == "–"


def test_a_peer_alone_shows_its_time():
    assert "2 s" in cells(report.page([result(row("torch", 2.0))]), "| bits 64")


def test_readme_holds_headline_cases_only_and_the_page_all():
    rows = [row("fasthash", 1e-3), row("fasthash", 1e-3, k=100)]
    assert "k 100" not in report.section([result(*rows)])
    assert "k 100" in report.page([result(*rows)])


def test_readme_holds_an_op_of_the_cpu_that_measured_it_last():
    old, new = result(row("fasthash", 1e-3), row("fasthash", 3e-3, op="pack_codes")), result(row("fasthash", 2e-3))
    old["machine"] = {**old["machine"], "cpu": "Old CPU"}
    new["runs"] = [{**new["runs"][0], "date": "2026-02-01T00:00:00+00:00"}]
    gpu = result(row("fasthash", 1e-5))
    gpu["machine"] = {**gpu["machine"], "gpu": "Some GPU"}
    text = report.section([old, new, gpu])
    assert "3 ms" in text
    assert "2 ms" in text
    assert "10 µs" in text
    assert "1 ms" not in text
    only_new = report.section([result(row("fasthash", 1e-3)), new])
    assert only_new.count("### ") == 1
    assert "1 ms" in report.page([old, new, gpu])


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
    missing[0]["run"] = 1
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


def test_searches_without_faiss_are_compared_with_torch():
    case = {"bits": 64, "N": 1_000_000, "Q": 1000, "k": 10, "data": "random"}
    medians = {"fasthash": 1e-3, "torch": 3e-3, "torch_int8": 2e-3}
    text = report.page([result(*(row(library, median, case=case) for library, median in medians.items()))])
    assert "torch's own way takes" in text
    assert cells(text, "| 64 ")[-1] == "×2.0"


def test_what_was_not_measured_for_one_reason_is_told_once():
    missing = [{"run": 1, "op": "hamming_topk", "library": "torch", "reason": "no time left"}] * 2
    text = report.page([result(row("fasthash", 1e-3), missing=missing)])
    assert text.count("no time left") == 1
    assert "hamming_topk, torch, 2 cases: no time left" in text
