# SPDX-License-Identifier: Apache-2.0
"""Result files: rounds are joined, shares and agreement follow from them, files survive a round trip."""

from __future__ import annotations

import pytest

from bench import results


def measurement(library="fasthash", median=1e-3, check=7.0, **changes):
    case = {"bits": 64, "rows": 1000}
    told = {"unit": "bits", "bytes": 1_000_000, "work": 64_000, "limit": "copy", "headline": True, "tolerance": 0.0}
    times = {"median": median, "iqr": median / 4, "min": median / 2, "calls": 10}
    return {
        "op": "pack_codes",
        "case": case,
        "library": library,
        "threads": 1,
        **told,
        **times,
        "check": check,
    } | changes


def limit(**changes):
    return {"name": "copy", "threads": 1, "bytes": 1 << 20, "per_second": 4e9, **changes}


def test_rounds_become_one_row():
    (row,) = results.rows_of([measurement(median=m) for m in (3e-3, 1e-3, 2e-3)], [])
    assert row["medians"] == [3e-3, 1e-3, 2e-3]
    assert row["median"] == 2e-3
    assert row["min"] == 5e-4
    assert row["iqr"] == 5e-4
    assert row["calls"] == 30
    assert row["share"] is None


def test_share_takes_the_limit_of_the_nearest_size_and_same_threads():
    limits = [limit(), limit(bytes=1 << 28, per_second=1e9), limit(threads=2, per_second=8e9)]
    (row,) = results.rows_of([measurement()], limits)
    assert row["share"] == pytest.approx(0.25)


def test_share_takes_the_limit_measured_over_just_as_many_bytes():
    limits = [limit(bytes=1 << 20, per_second=9e9), limit(bytes=1_000_000), limit(bytes=1_100_000, per_second=9e9)]
    (row,) = results.rows_of([measurement()], limits)
    assert row["share"] == pytest.approx(0.25)


@pytest.mark.parametrize(("bits", "wide"), [(8, 32), (32, 32), (33, 64), (60, 64), (100, 128), (1024, 1024)])
def test_a_scan_is_of_codes_as_they_are_laid_out(bits, wide):
    limits = [limit(name="scan", bits=wide, per_second=64e6), limit(name="scan", bits=wide + 1, per_second=1.0)]
    (row,) = results.rows_of([measurement(limit="scan", case={"bits": bits})], limits)
    assert row["share"] == pytest.approx(1.0)


def test_share_of_a_scan_counts_comparisons_of_as_many_bits():
    limits = [limit(name="scan", bits=256, per_second=1.0), limit(name="scan", bits=64, per_second=128e6)]
    (row,) = results.rows_of([measurement(limit="scan")], limits)
    assert row["share"] == pytest.approx(0.5)


def test_a_row_without_a_limit_has_no_share():
    (row,) = results.rows_of([measurement(limit=None)], [limit()])
    assert row["share"] is None


@pytest.mark.parametrize(("check", "tolerance", "agrees"), [(7.0, 0.0, True), (7.01, 0.0, False), (7.01, 0.01, True)])
def test_agreement_is_with_fasthash_within_the_tolerance(check, tolerance, agrees):
    peer = measurement("torch", check=check, tolerance=tolerance)
    rows = results.rows_of([measurement(), peer], [])
    assert [row["agrees"] for row in rows] == [True, agrees]


def test_nothing_to_agree_with_without_fasthash():
    (row,) = results.rows_of([measurement("torch")], [])
    assert row["agrees"] is None


def test_what_cannot_be_compared_neither_agrees_nor_disagrees():
    rows = results.rows_of([measurement(), measurement("torch", check=float("nan"))], [])
    assert [row["agrees"] for row in rows] == [True, None]


def test_cpu_time_and_busy_cores_are_medians_of_the_rounds():
    rounds = [measurement(cpu=cpu, cores=cores) for cpu, cores in ((3.0, 1.0), (5.0, 1.9), (4.0, 1.8))]
    (row,) = results.rows_of(rounds, [])
    assert (row["cpu"], row["cores"]) == (4.0, 1.8)


@pytest.mark.parametrize(
    ("cores", "threads", "few"), [(1.0, 2, 1.0), (1.6, 2, None), (1.0, 1, None), (0.5, 1, 0.5), (None, 2, None)]
)
def test_few_cores_are_suspicious(cores, threads, few):
    assert results.few_cores(cores, threads) == few


def told(**changes):
    run = {"date": "2026-01-02", "commit": {"id": "abc"}, "versions": {}, "settings": {"quick": False}}
    return {"machine": {"name": "some-cpu"}, **run, "limits": [limit()], **changes}


def rows_named(*ops):
    return [{**row, "op": op} for op in ops for row in results.rows_of([measurement()], [])]


def test_an_op_measured_again_has_a_run_and_limits_of_its_own():
    absent = [{"op": op, "library": "faiss", "reason": "-"} for op in ("a", "b")]
    before = results.one_run(told(), rows_named("a", "b"), absent)
    new = results.one_run(told(commit={"id": "def"}, limits=[limit(per_second=1.0)]), rows_named("b"), [])
    both = results.merged(before, new, {"b"})
    assert [(run["number"], run["commit"]["id"]) for run in both["runs"]] == [(1, "abc"), (2, "def")]
    assert [(one["run"], one["per_second"]) for one in both["limits"]] == [(1, 4e9), (2, 1.0)]
    assert [(row["run"], row["op"]) for row in both["rows"]] == [(1, "a"), (2, "b")]
    assert [(one["run"], one["op"]) for one in both["missing"]] == [(1, "a")]
    assert (results.ops_of(both, 1), results.ops_of(both, 2)) == (["a"], ["b"])


def test_a_run_of_which_nothing_is_left_goes():
    before = results.one_run(told(), rows_named("a"), [{"op": "limits", "library": "native", "reason": "-"}])
    both = results.merged(before, results.one_run(told(), rows_named("a"), []), {"a"})
    assert [run["number"] for run in both["runs"]] == [2]
    assert {item["run"] for name in ("limits", "rows") for item in both[name]} == {2}
    assert both["missing"] == []


def test_a_file_of_the_former_format_is_one_run(tmp_path):
    former = {"format": results.FORMER_FORMAT, **told(), "rows": rows_named("a"), "missing": [], "stages": []}
    results.write(tmp_path / "former.json", former)
    read = results.read(tmp_path / "former.json")
    assert (read["format"], read["runs"][0]["commit"], read["stages"]) == (results.FORMAT, {"id": "abc"}, [])
    assert read["limits"] == [{"run": 1, **limit()}]
    assert results.ops_of(read, 1) == ["a"]
    assert "commit" not in read


def test_files_survive_a_round_trip_with_short_numbers(tmp_path):
    rows = results.rows_of([measurement(median=1.23456789e-3)], [limit()])
    path = tmp_path / "folder" / "machine.json"
    results.write(path, {"format": results.FORMAT, "limits": [limit()], "rows": rows, "missing": []})
    read = results.read(path)
    assert read["rows"][0]["median"] == 1.235e-3
    assert read["limits"] == [limit()]
    assert len(path.read_text().splitlines()) == 10
    assert [other.name for other in path.parent.iterdir()] == ["machine.json"]


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"format": "something else"}')
    with pytest.raises(ValueError, match="format must be"):
        results.read(path)
