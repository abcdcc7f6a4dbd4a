#!/usr/bin/env bash
# Runs the tests in the checkout's own environment, on all cores.
# Usage: tools/test.sh [--slow] [arguments of pytest]
# Slow tests take part with --slow, and always where CI=true.
set -euo pipefail
cd "$(dirname "$0")/.."

slow=${CI:-false}
arguments=()
for argument in "$@"; do
    if [ "$argument" = --slow ]; then slow=true; else arguments+=("$argument"); fi
done
if [ "$slow" != true ]; then arguments=(-m "not slow" "${arguments[@]}"); fi

python=$(tools/setup_environment.sh dev)

# One process a core, so one thread each: more of them would only wait for one another.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
exec "$python" -m pytest -n "$(nproc)" -q "${arguments[@]}"
