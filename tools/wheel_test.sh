#!/usr/bin/env bash
# Builds the sdist and, from it, the wheel; installs the wheel alone, with the core's needs only, in a
# fresh environment outside the checkout; and uses it there as a user would.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(tools/setup_environment.sh dev)
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

"$python" -m build --outdir "$outside/dist" . >"$outside/build.log" 2>&1 || {
    cat "$outside/build.log" >&2
    exit 1
}
"$python" -m venv "$outside/venv"
"$outside/venv/bin/python" -m pip install -qq --no-input --disable-pip-version-check \
    "$outside"/dist/*.whl

expected_demo=no
if compgen -G "agent/demo/*.npp" >/dev/null; then expected_demo=yes; fi
cp tools/wheel_check.py "$outside/"
cd "$outside"
unset PYTHONPATH
export NPP_STORE=$outside/store
PATH=$outside/venv/bin:$PATH python wheel_check.py --demo "$expected_demo"
