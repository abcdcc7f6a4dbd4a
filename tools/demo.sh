#!/usr/bin/env bash
# Shows the whole story on one emulated chip, in under a minute once installed, and writes a picture.
# Usage: tools/demo.sh [options of `npp-agent demo`]
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(tools/setup_environment.sh core)

# The picture needs matplotlib, the demo does not: without it, the chart is drawn in text.
if ! "$python" -c 'import matplotlib' 2>/dev/null; then
    "$python" -m pip install -qq --no-input --disable-pip-version-check matplotlib >&2 ||
        echo "matplotlib could not be installed: the chart will be text" >&2
fi
# The network is small: a second thread would spend its time waiting.
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
exec "$python" -m agent.cli demo "$@"
