#!/usr/bin/env bash
# Makes or renews the environment .venv of this checkout and prints the path of its Python.
# Usage: python=$(tools/setup_environment.sh [core|dev])
# What it says goes to stderr; an environment that is up to date is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

flavour=${1:-core}
case $flavour in
    core) requirement=. ;;
    dev) requirement=".[dev]" ;;
    *)
        echo "setup_environment.sh: unknown flavour '$flavour'; use core or dev" >&2
        exit 2
        ;;
esac

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 python3.11 python3.12 python3.13 python3.14; do
        if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "npp-agent needs Python 3.11 or newer, and none was found." >&2
    echo "On Debian 12 or newer: sudo apt install python3 python3-venv" >&2
    echo "A Python elsewhere is named with PYTHON=/path/to/python3" >&2
    return 1
}

make_environment() {
    local base
    base=$(find_python)
    if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$base cannot make virtual environments: its module venv or ensurepip is missing." >&2
        echo "On Debian: sudo apt install python3-venv" >&2
        return 1
    fi
    echo "Setting up .venv with $base" >&2
    "$base" -m venv --clear .venv
}

python=$PWD/.venv/bin/python
# The environment knows its own place, so a checkout that was moved needs a new one.
if ! is_new_enough "$python" || ! grep -qF "$PWD/.venv" .venv/bin/pip; then
    make_environment
fi

# One stamp for each flavour holds what it was installed from; dev holds all that core does.
wanted=$(cat setup.py pyproject.toml | cksum)
up_to_date() {
    [ -f ".venv/stamp-$1" ] && [ "$(cat ".venv/stamp-$1")" = "$wanted" ]
}
if ! up_to_date "$flavour" && ! up_to_date dev; then
    echo "Installing what npp-agent needs ($flavour); the first time this takes a minute or two" >&2
    "$python" -m pip install -qq --no-input --disable-pip-version-check \
        --editable "$requirement" >&2 || {
        echo "Installing failed; the lines above say why" >&2
        exit 1
    }
    echo "$wanted" >".venv/stamp-$flavour"
fi
echo "$python"
