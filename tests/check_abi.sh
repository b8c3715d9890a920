#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One binary for every torch: the module built in this checkout, byte for byte the same file, passes the CPU op suite under
# other releases of torch. Each release gets an environment of its own under .abi/ (a CUDA build takes 5 GB).
#
#   tests/check_abi.sh [RELEASE...]     releases: versions of torch, or "newest"; default: 2.14.1 newest
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
releases=("$@")
[ ${#releases[@]} -gt 0 ] || releases=(2.14.1 newest)
suite=(tests/ops tests/reference tests/losses tests/nn tests/metrics tests/index tests/test_build.py)

module=$(ls fasthash/_C.*.so)
built=$(sha256sum "$module" | cut -d' ' -f1)
echo "module $module"
echo "sha256 $built, built with torch $($python -c 'import fasthash; print(fasthash.build_info()["versions"]["torch_built_with"])')"

for release in "${releases[@]}"; do
  home=.abi/$release
  want=torch==$release
  [ "$release" != newest ] || want=torch
  if [ ! -e "$home/.installed" ]; then
    "$python" -m venv "$home"
    grep -E '^(numpy|safetensors|hypothesis|pytest|scikit-learn)==' requirements.txt > "$home/requirements.txt"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check "$want" -r "$home/requirements.txt"
    touch "$home/.installed"
  fi
  version=$("$home/bin/python" -c 'import torch; print(torch.__version__)')
  echo "== torch $version"
  FASTHASH_BUILD_DIR=$PWD/build/cmake-$("$python" -c 'import sys; print(sys.implementation.cache_tag)') \
    "$home/bin/python" -m pytest -q -p no:cacheprovider "${suite[@]}"
  now=$(sha256sum "$module" | cut -d' ' -f1)
  [ "$now" = "$built" ] || { echo "the module changed while it was tested: $now" >&2; exit 1; }
done
echo "check-abi: $built passes under ${releases[*]}"
