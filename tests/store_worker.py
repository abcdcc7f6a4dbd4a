"""A process that changes a store again and again until it is killed, saying what it has done.

    python store_worker.py PATH SEED

Before each change a line `begin WHAT`, after it `done`; each line is one write to a pipe, so what
the parent has read was said before the kill.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from agent.events import CALIBRATION, INSTALLATION, record
from agent.fsck.examine import repair
from agent.store.store import Store
from tests.store_samples import CHIP, FIRST, SECOND


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def install(store: Store, chance: random.Random) -> str:
    bundle = chance.choice([FIRST, SECOND])
    say(f"begin install {bundle.id}")
    store.install(bundle, CHIP)
    record(store, INSTALLATION, {"bundle_id": bundle.id, "chip": CHIP}, 1.0)
    return "none"


def commit(store: Store, chance: random.Random) -> str:
    payload = chance.randbytes(chance.randrange(200, 3000))
    say(f"begin commit {payload.hex()}")
    done = store.commit_factors(payload)
    record(store, CALIBRATION, {"accepted": True, "sequence": done.sequence}, 2.0)
    return payload.hex()


def roll_back(store: Store, _: random.Random) -> str:
    say("begin rollback")
    if len(store.factor_slots().available()) > 0:
        store.rollback()
    found = store.load_factors()
    return found.payload.hex() if found else "none"


def keep(store: Store, chance: random.Random) -> str:
    say("begin keep")
    store.write_buffer(chance.randbytes(500))
    store.remember({"age_s": chance.random()})
    store.append_history({"text": "x" * 700})
    return "same"


def mend(store: Store, _: random.Random) -> str:
    say("begin repair")
    repair(store)
    return "same"


def main() -> None:
    store, chance = Store(Path(sys.argv[1])), random.Random(int(sys.argv[2]))  # noqa: S311 - no secret
    actions = [commit, commit, commit, roll_back, keep, keep, mend, install]
    with store.lock():
        say("ready")
        while True:
            now = chance.choice(actions)(store, chance)
            say(f"done {now}")


if __name__ == "__main__":
    main()
