#!/usr/bin/env bash
# Makes or renews an environment of this checkout and prints the path of its Python.
# Usage: python=$(tools/setup_environment.sh [core|dev|tflite])
# core and dev share .venv; tflite is .venv-tflite, that of an older board: tflite-runtime with
# NumPy 1, for which Python 3.11 is needed. Where there is none the exit code is 3.
# What it says goes to stderr; an environment that is up to date is left as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

flavour=${1:-core}
folder=.venv
newest=99
case $flavour in
    core) requirement=. ;;
    dev) requirement=".[dev]" ;;
    tflite)
        requirement=".[tflite,tests]"
        folder=.venv-tflite
        newest=11
        ;;
    *)
        echo "setup_environment.sh: unknown flavour '$flavour'; use core, dev or tflite" >&2
        exit 2
        ;;
esac

is_fitting() {
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 python3.11 python3.12 python3.13 python3.14; do
        if command -v "$candidate" >/dev/null && is_fitting "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    if [ "$flavour" = tflite ]; then
        echo "tflite-runtime has wheels up to Python 3.11 only, and no Python 3.11 was found." >&2
        return 3
    fi
    echo "npp-agent needs Python 3.11 or newer, and none was found." >&2
    echo "On Debian 12 or newer: sudo apt install python3 python3-venv" >&2
    echo "A Python elsewhere is named with PYTHON=/path/to/python3" >&2
    return 1
}

make_environment() {
    local base
    base=$(find_python) || return
    if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$base cannot make virtual environments: its module venv or ensurepip is missing." >&2
        echo "On Debian: sudo apt install python3-venv" >&2
        return 1
    fi
    echo "Setting up $folder with $base" >&2
    "$base" -m venv --clear "$folder"
}

python=$PWD/$folder/bin/python
# The environment knows its own place, so a checkout that was moved needs a new one.
if ! is_fitting "$python" || ! grep -qF "$PWD/$folder/" "$folder/bin/pip"; then
    make_environment || exit
fi

# One stamp for each flavour holds what it was installed from; dev holds all that core does.
wanted=$(cat setup.py pyproject.toml | cksum)
up_to_date() {
    [ -f "$folder/stamp-$1" ] && [ "$(cat "$folder/stamp-$1")" = "$wanted" ]
}
if ! up_to_date "$flavour" && ! up_to_date dev; then
    echo "Installing what npp-agent needs ($flavour); the first time this takes a minute or two" >&2
    "$python" -m pip install -qq --no-input --disable-pip-version-check \
        --editable "$requirement" >&2 || {
        echo "Installing failed; the lines above say why" >&2
        exit 1
    }
    echo "$wanted" >"$folder/stamp-$flavour"
fi
echo "$python"
