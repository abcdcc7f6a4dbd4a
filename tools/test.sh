#!/usr/bin/env bash
# Runs the tests in the checkout's own environment, on all cores; then those of what a board runs,
# tests/test_board_*.py, in an older board's environment: tflite-runtime with NumPy 1.
# Usage: tools/test.sh [--slow] [arguments of pytest]
# Slow tests take part with --slow, and always where CI=true. With arguments of pytest's, which may
# name tests, the second run is left out.
set -euo pipefail
cd "$(dirname "$0")/.."

slow=${CI:-false}
arguments=()
for argument in "$@"; do
    if [ "$argument" = --slow ]; then slow=true; else arguments+=("$argument"); fi
done
given=${#arguments[@]}
if [ "$slow" != true ]; then arguments=(-m "not slow" "${arguments[@]}"); fi

python=$(tools/setup_environment.sh dev)

# One process a core, so one thread each: more of them would only wait for one another. nproc takes
# OMP_NUM_THREADS for the number of cores, so it is asked without.
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
if [ "$given" != 0 ]; then exec "$python" -m pytest -n "$cores" -q "${arguments[@]}"; fi
"$python" -m pytest -n "$cores" -q "${arguments[@]}"

code=0
older=$(tools/setup_environment.sh tflite) || code=$?
if [ "$code" = 3 ]; then
    echo "Skipped, as there is no Python 3.11: the tests with tflite-runtime and NumPy 1"
    exit 0
fi
[ "$code" = 0 ] || exit "$code"
echo "With tflite-runtime and NumPy 1:"
# Only the development environment can make the bundles that these tests read.
export NPP_BOARD_BUNDLES=$PWD/build/board-bundles
rm -rf "$NPP_BOARD_BUNDLES"
real=()
if [ "$slow" = true ]; then real=(--real); fi
"$python" -m tests.tflite_bundles "$NPP_BOARD_BUNDLES" "${real[@]}"
"$older" -m pytest -n "$cores" -q "${arguments[@]}" tests/test_board_*.py
