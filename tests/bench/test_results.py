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
