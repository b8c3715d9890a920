#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds, tests, sanitizes and measures fasthash on a machine with a GPU, in one call and without a network.
#
#   bench/gpu.sh              everything
#   bench/gpu.sh build tests  some of the stages build, build_tests, environment, native, tests, sanitizers,
#                             bench or bench-<op>; environment brings the machine's name, versions and limits
#
# Leaves <gpu>.json and <gpu>.log in $OUT; without OUT the result file goes to bench/results/, the log to build/gpu/.
# Every stage has a time limit and is noted in the result file whatever becomes of it, so that later stages and the file
# always come. Exit status: 0 all passed, 1 a stage did not, 2 there is no GPU.
#
#   PYTHON=python3                the Python that has torch, pybind11, numpy, safetensors, pytest, hypothesis
#   CMAKE_ARGS=...                more options for CMake
#   FASTHASH_GPU_SH_LIMIT=560     seconds for everything
#   FASTHASH_GPU_SH_FOR_BENCH=200 seconds of it kept for the benchmarks while anything before them runs
#   FASTHASH_GPU_SH_DEVICE=cpu    to try the script without a GPU: figures mean nothing, sanitizers do not run
#   FASTHASH_GPU_SH_WORK=...      folder of the build and the logs (default build/gpu)
#   FASTHASH_COMMIT=...           the commit, where the copy has no repository
set -uo pipefail
SELF=$(realpath "$0")
cd "$(dirname "$SELF")/.." || exit 1

PYTHON=${PYTHON:-python3}
DEVICE=${FASTHASH_GPU_SH_DEVICE:-cuda}
LIMIT=${FASTHASH_GPU_SH_LIMIT:-560}
WORK=$(realpath -m "${FASTHASH_GPU_SH_WORK:-build/gpu}")
RESULTS=$(realpath -m "${OUT:-bench/results}")
LOGS=$(realpath -m "${OUT:-$WORK}")
BUILD=$WORK/cmake
RUN=$WORK/run
WANTED=("$@")
FOR_BENCH=${FASTHASH_GPU_SH_FOR_BENCH:-200}
((${#WANTED[@]} == 0)) || [[ " ${WANTED[*]} " == *" bench"* ]] || FOR_BENCH=0
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" FASTHASH_BUILD_DIR=$BUILD
export PATH="$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:/usr/local/nvidia/bin"

check_device() {
  [[ $DEVICE == cpu ]] && return
  local why
  if ! why=$("$PYTHON" -c '
import sys
try:
    import torch
except ImportError as error:
    sys.exit(f"{sys.executable} has no torch ({error})")
if torch.version.cuda is None:
    sys.exit(f"torch {torch.__version__} in {sys.executable} is a CPU build")
if not torch.cuda.is_available():
    sys.exit(f"torch {torch.__version__} sees no GPU")
' 2>&1); then
    echo "bench/gpu.sh: no CUDA device: ${why##*$'\n'}" >&2
    exit 2
  fi
}

wanted() {
  ((${#WANTED[@]} == 0)) || [[ " ${WANTED[*]} " == *" $1 "* ]]
}

note() {  # note NAME OUTCOME STATUS SECONDS LOG: the result file is whole after each stage
  printf '%4d s  %-24s %-8s %4d s\n' "$SECONDS" "$1" "$2" "$4"
  "$PYTHON" -m bench.stages note "$RUN" "$@" && "$PYTHON" -m bench.stages join "$RUN" "$RESULTS" >/dev/null
}

# stage NAME SECONDS RESERVE COMMAND...: runs it for SECONDS at most, and leaves RESERVE of the whole limit untouched.
stage() {
  local name=$1 limit=$2 left=$((LIMIT - SECONDS - $3)) begin=$SECONDS log=$RUN/$1.log status outcome
  shift 3
  if ((left < 5)); then
    echo "no time left" >"$log"
    note "$name" skipped 0 0 "$log"
    return
  fi
  timeout --kill-after=10 "$((limit < left ? limit : left))" "$@" >"$log" 2>&1 </dev/null
  status=$?
  case $status in
    0) outcome=passed ;;
    77) outcome=skipped ;;  # no device, say the native tests
    124 | 137) outcome=timeout ;;
    *) outcome=failed ;;
  esac
  note "$name" "$outcome" "$status" "$((SECONDS - begin))" "$log"
  [[ $outcome == passed ]] || tail -n 15 "$log" | awk -v stage="$name" '{ print "        " stage ": " $0 }'
}

configure_and_build() {
  local architectures=native cuda=ON generator=() options
  read -ra options <<<"${CMAKE_ARGS:-}"
  if [[ $DEVICE == cpu ]]; then
    architectures=dev cuda=AUTO
  elif ! command -v nvidia-smi >/dev/null; then  # which `native` asks
    architectures=$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
  fi
  command -v ninja >/dev/null && generator=(-GNinja)
  # Unknown compilers may know warnings that ours do not: here they are only shown.
  cmake -S . -B "$BUILD" "${generator[@]}" -DFASTHASH_TESTS=ON -DFASTHASH_CUDA=$cuda -DFASTHASH_WERROR=OFF \
    -DFASTHASH_CUDA_ARCHITECTURES="$architectures" -DPython_EXECUTABLE="$(command -v "$PYTHON")" \
    -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$PWD/fasthash" "${options[@]}" &&
    cmake --build "$BUILD" --parallel "$(nproc)" --target _C
}

device_tests() {
  local folders=() folder parallel=() choice="cuda and not cuda_on_cpu"
  for folder in ops losses nn index metrics; do
    [[ -d tests/$folder ]] && folders+=("tests/$folder")
  done
  [[ $DEVICE == cpu ]] && choice="not cuda"
  "$PYTHON" -c 'import xdist' 2>/dev/null && parallel=(-n 8)
  "$PYTHON" -m pytest "${folders[@]}" -k "$choice" -q -p no:cacheprovider -W default "${parallel[@]}" |
    tee "$RUN/pytest.txt" || return
  grep -q ' passed' "$RUN/pytest.txt" || { echo "not one test ran on the device" && return 1; }
}

sanitize() {  # sanitize TOOL COMMAND...
  local tool=$1
  shift
  # Tests make launches fail on purpose: errors that calls return are theirs to check.
  compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 99 --print-limit 20 "$@"
}

native_part() {  # native_part TOOL PART: every third of the native tests, from that one on
  local tests
  mapfile -t tests < <("$BUILD/tests/cuda_device_tests" --list | awk -v part="$2" 'NR % 3 == part')
  ((${#tests[@]} > 0)) && sanitize "$1" "$BUILD/tests/cuda_device_tests" --run "${tests[@]}"
}

sanitizers() {
  local tool part ops=("$PYTHON" -m bench.sanitize_ops)
  if [[ $DEVICE == cpu ]] || ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer does not run here" >"$RUN/sanitizers.log"
    note sanitizers missing 0 0 "$RUN/sanitizers.log"
    return
  fi
  # Without torch's allocator every tensor is an allocation of its own, whose end is watched.
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1
  for tool in memcheck racecheck initcheck synccheck; do
    for part in 0 1 2; do
      stage "$tool-native-$part" 100 "$FOR_BENCH" bash "$SELF" --run native_part "$tool" "$part" &
    done
    stage "$tool-ops" 140 "$FOR_BENCH" bash "$SELF" --run sanitize "$tool" "${ops[@]}" &
  done
  wait
  unset PYTORCH_NO_CUDA_MEMORY_CACHING
}

benchmarks() {
  local file name seconds
  for file in bench/bench_*.py; do
    name=$(basename "$file" .py)
    name=${name#bench_}
    wanted bench || wanted "bench-$name" || continue
    seconds=40
    [[ $name == hamming_topk ]] && seconds=80
    stage "bench-$name" $((seconds + 20)) 0 "$PYTHON" -m bench.gpu --device "$DEVICE" measure "$name" \
      "$RUN/environment.json" "$RUN/part-$name.json" --seconds $seconds
  done
}

finish() {
  local path name log
  path=$("$PYTHON" -m bench.stages join "$RUN" "$RESULTS") || exit 1
  name=$(basename "$path" .json)
  mkdir -p "$LOGS"
  for log in "$RUN"/*.log; do
    printf '\n===== %s\n' "$(basename "$log" .log)"
    cat "$log"
  done >"$LOGS/$name.log"
  "$PYTHON" -m bench.report --show "$path"
  echo "wrote $path and $LOGS/$name.log after $SECONDS s"
  ! grep -qv '"outcome": "\(passed\|missing\)"' "$RUN/stages.jsonl"
}

if [[ ${1:-} == --run ]]; then  # timeout runs programs, not functions: the script calls itself
  shift
  "$@"
  exit
fi

check_device
rm -rf "$RUN"
mkdir -p "$RUN" "$BUILD" "$RESULTS"
: >"$RUN/stages.jsonl"
trap 'finish; exit 1' INT TERM

wanted build && stage build 240 "$FOR_BENCH" bash "$SELF" --run configure_and_build
wanted build_tests && stage build_tests 120 "$FOR_BENCH" cmake --build "$BUILD" --parallel --target cuda_device_tests gpu_limits
wanted environment &&
  stage environment 90 60 "$PYTHON" -m bench.gpu --device "$DEVICE" environment "$RUN/environment.json" \
    --native "$BUILD/tests/gpu_limits"
wanted native && stage native 60 "$FOR_BENCH" "$BUILD/tests/cuda_device_tests"
wanted tests && stage tests 150 "$FOR_BENCH" bash "$SELF" --run device_tests
wanted sanitizers && sanitizers
benchmarks
finish
