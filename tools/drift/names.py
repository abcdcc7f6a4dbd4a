"""What the benchmark of drift compares, and when; no imports, for both Pythons."""

from __future__ import annotations

HOUR_S, DAY_S, YEAR_S = 3600.0, 86_400.0, 365 * 86_400.0
AGES = {
    "1 s": 1.0,
    "1 hour": HOUR_S,
    "1 day": DAY_S,
    "1 month": 30 * DAY_S,
    "1 year": YEAR_S,
    "10 years": 10 * YEAR_S,
}

UNCORRECTED, SCALAR = "uncorrected", "one scalar a layer"
ONCE = "ours, calibrated after 1 s and never again"
OURS = "ours, calibrated at this age"
OUR_WAYS = (UNCORRECTED, SCALAR, ONCE, OURS)

PEER = "aihwkit"
GLOBAL = f"{PEER}, global drift compensation"
PEER_UNCORRECTED = f"{PEER}, uncorrected"
BY_COLUMN = f"{PEER}, drift compensation of each column"
BY_TILE = f"{GLOBAL}, one scale a tile"
DEFAULT = f"{BY_TILE}, its default converters"
PEER_WAYS = (PEER_UNCORRECTED, GLOBAL, BY_COLUMN, BY_TILE, DEFAULT)
