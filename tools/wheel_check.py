"""Uses an installed npp-agent from outside the checkout, and says what does not work.

Run by `wheel_test.sh` with the Python of a fresh environment that holds the wheel and its needs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

OURS = ("agent", "calib", "device_models")


def check_names() -> None:
    """Our import packages belong to npp-agent alone, and it brings no others."""
    owners = importlib.metadata.packages_distributions()
    for name in OURS:
        if set(owners.get(name, [])) != {"npp-agent"}:
            raise SystemExit(f"package {name} belongs to {owners.get(name)}, not npp-agent alone")
    brought = {name for name, owner in owners.items() if "npp-agent" in owner}
    if brought != set(OURS):
        raise SystemExit(f"npp-agent brings {sorted(brought)}, and should bring {sorted(OURS)}")


def check_place() -> None:
    """The packages come from the environment, not from a checkout."""
    import agent  # noqa: PLC0415  # not before the names are known to be ours

    if not Path(agent.__file__ or "").is_relative_to(sys.prefix):
        raise SystemExit(f"agent was imported from {agent.__file__}, not from {sys.prefix}")
    if importlib.metadata.version("npp-agent") != agent.__version__:
        raise SystemExit(f"agent says version {agent.__version__}, its metadata another")


def call(*arguments: str) -> str:
    """What `npp-agent arguments` prints; it must succeed."""
    done = subprocess.run(["npp-agent", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"npp-agent {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
        )
    return done.stdout


def main() -> None:
    """Check names, place, and three commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", choices=["yes", "no"], required=True)
    options = parser.parse_args()
    check_names()
    check_place()
    if "doctor" not in call("--help"):
        raise SystemExit("npp-agent --help does not name the command doctor")
    report = json.loads(call("doctor", "--json"))
    absent = [p["name"] for p in report["packages"] if p["needed"] and not p["works"]]
    if absent:
        raise SystemExit(f"npp-agent doctor misses {', '.join(absent)}")
    if options.demo == "yes":
        json.loads(call("demo", "--json"))
    print("wheel: installed outside the checkout and used")


if __name__ == "__main__":
    main()
