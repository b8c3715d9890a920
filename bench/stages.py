# SPDX-License-Identifier: Apache-2.0
"""Bookkeeping of bench/gpu.sh: notes each stage, and joins what the stages left into one result file.

    python -m bench.stages note FOLDER NAME OUTCOME STATUS SECONDS LOG
    python -m bench.stages join FOLDER RESULTS        # prints the path of the result file

Needs the standard library alone, so that a result file comes even where nothing could be built.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine, results

REPOSITORY = Path(__file__).resolve().parent.parent
TAIL_LINES = 12
TAIL_CHARACTERS = 1500

Row = dict[str, Any]


def note(folder: Path, name: str, outcome: str, status: int, seconds: float, log: Path) -> None:
    """Appends a stage to the list: outcome is passed, failed, timeout, missing or skipped."""
    entry = {"name": name, "outcome": outcome, "status": status, "seconds": seconds, "tail": tail(log)}
    with (folder / "stages.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def tail(log: Path) -> list[str]:
    """The last lines of a log, without colours and without the folder that the repository lies in."""
    if not log.exists():
        return []
    text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace")).replace(f"{REPOSITORY}/", "")
    return text[-TAIL_CHARACTERS:].splitlines()[-TAIL_LINES:]


def stages(folder: Path) -> list[Row]:
    """The stages noted so far."""
    path = folder / "stages.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def join(folder: Path, output: Path) -> Path:
    """Writes the result file from what is there: the environment, the parts of the ops, the stages."""
    environment = folder / "environment.json"
    told = json.loads(environment.read_text()) if environment.exists() else _bare_environment()
    parts = [json.loads(path.read_text()) for path in sorted(folder.glob("part-*.json"))]
    noted = stages(folder)
    told["settings"]["seconds"] = round(sum(stage["seconds"] for stage in noted))
    rows, missing = ([row for part in parts for row in part[name]] for name in ("rows", "missing"))
    result = {**results.one_run(told, rows, missing), "stages": noted}
    path = output / f"{result['machine']['name']}.json"
    results.write(path, result)
    return path


def _bare_environment() -> Row:
    """What is known of the machine when fasthash could not be loaded."""
    name = _gpu_name()
    return {
        "machine": {"name": machine.slug(name), "cpu": machine.cpu_model(), "gpu": name},
        "date": machine.date(),
        "commit": machine.commit(),
        "versions": {},
        "settings": {"threads": [0], "rounds": 1, "quick": False},
        "limits": [],
    }


def _gpu_name() -> str:
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown GPU"
    return answer.splitlines()[0].strip() if answer.strip() else "unknown GPU"


def main(arguments: Sequence[str]) -> int:
    """Runs the command line."""
    command, folder, *rest = arguments
    if command == "note":
        name, outcome, status, seconds, log = rest
        note(Path(folder), name, outcome, int(status), float(seconds), Path(log))
    elif command == "join":
        print(join(Path(folder), Path(rest[0])))
    else:
        raise ValueError(f"bench.stages: command must be note or join, got {command!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
