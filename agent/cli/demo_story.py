"""The demo's story, told from its figures."""

from __future__ import annotations

import textwrap
from typing import Any

from agent.cli.installed import chip_text
from agent.cli.table import WIDTH, pairs, table
from agent.cli.units import bytes_text, seconds_text

CREDITED = ("title", "creators", "source", "licence")
SHOWN = 5
"""How many of the chosen samples are named."""


def story(document: dict[str, Any]) -> str:
    """All chapters, at most 100 columns wide."""
    chapters = [_network(document), _loss(document), _choice(document), _repair(document)]
    if document["restart"] is not None:
        chapters += [_restart(document), _rollback(document)]
    return "\n\n".join([*chapters, _end(document)])


def chart_subtitle(document: dict[str, Any]) -> str:
    """Chip, scheme and accuracies, in two lines."""
    used = document["calibration"]["samples_used"]
    return (
        f"chip {chip_text(document['chip'])}; weights {document['scheme']}; calibrated with {used} "
        f"samples\naccuracy on {document['samples']} held-out digits: "
        f"float {_percent(document['float'])}, uncorrected {_percent(document['uncorrected'])}, "
        f"corrected {_percent(document['corrected'])}"
    )


def _chapter(title: str, *paragraphs: str) -> str:
    return f"{title}\n{'-' * len(title)}\n" + "\n\n".join(paragraphs)


def _prose(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _network(document: dict[str, Any]) -> str:
    weights = sum(layer["inputs"] * layer["outputs"] for layer in document["layers"])
    return _chapter(
        "1. A network",
        _prose(
            f"It reads handwritten digits, with {len(document['layers'])} linear layers and "
            f"{weights:,} weights. In float it reads {_percent(document['float'])} of "
            f"{document['samples']} digits right that it never saw in training. It was packed for "
            f"a board with weights of {_bits(document)} bits (scheme {document['scheme']}) into a "
            f"bundle of {bytes_text(document['bundle_bytes'])}."
        ),
    )


def _bits(document: dict[str, Any]) -> str:
    return f"{document['layers'][0]['bits_mean']:.2g}"


def _loss(document: dict[str, Any]) -> str:
    return _chapter(
        "2. A bad chip",
        _prose(
            f"The emulated chip is {chip_text(document['chip'])}. {_what_it_does(document)}"
            f"On this chip the network reads {_percent(document['uncorrected'])} right. This is "
            "how wrong the outputs of its layers are:"
        ),
        table(
            ["layer", "relative error", "SQNR dB"],
            [[row["name"], row["relative_error"], row["sqnr_db"]] for row in document["before"]],
        ),
    )


def _what_it_does(document: dict[str, Any]) -> str:
    chip, tried = document["chip"], document["seeds_tried"]
    name = str(chip["name"])
    if not name.startswith("mismatch-") or "description" in chip:
        return ""
    worst = f"; of the seeds 0 to {tried - 1} this one costs most" if tried else ""
    return (
        "Each of its weights is off by a factor of its own, which never changes: by "
        f"{name.removeprefix('mismatch-')} % (one standard deviation). Another --chip-seed is "
        f"another chip{worst}. "
    )


def _choice(document: dict[str, Any]) -> str:
    calibration = document["calibration"]
    count = document["references"]["count"]
    return _chapter(
        "3. Which samples to learn from",
        _prose(
            f"The bundle holds {count} training digits without their labels, and what the float "
            f"network makes of them. The {calibration['samples_used']} are chosen whose answers "
            "this chip is predicted to hurt most. The margin is the lead of the best class over "
            "the second in the float network. Where the predicted change takes it below zero, "
            "another class wins."
        ),
        _chosen(calibration["selected"]),
    )


def _chosen(selected: list[dict[str, Any]]) -> str:
    figures = ("margin", "predicted_change", "sensitivity")
    rows = table(
        ["sample", "margin", "predicted change", "sensitivity", "chosen because"],
        [
            [one["index"], *(round(one[name], 2) for name in figures), one["reason"]]
            for one in selected[:SHOWN]
        ],
    )
    more = len(selected) - SHOWN
    return f"{rows}\nand {more} more, all in --json" if more > 0 else rows


def _repair(document: dict[str, Any]) -> str:
    calibration = document["calibration"]
    outcome = "accepted" if calibration["accepted"] else "refused"
    share = document["surrogate_mac_share"]
    return _chapter(
        "4. Calibrate",
        _prose(
            "A small correction is fitted beside each layer, with these digits, in "
            f"{seconds_text(calibration['seconds'])}. It adds {_percent(share)} to the network's "
            f"multiplications. {document['references']['held_back']} other training digits judge "
            f"it: {outcome}, {calibration['reason']}."
        ),
        table(
            ["layer", "rank", "error before", "error after"],
            [
                [row["name"], row["rank"], row["error_before"], row["error_after"]]
                for row in calibration["layers"]
            ],
        ),
        pairs(
            [
                ("float", _percent(document["float"])),
                ("uncorrected", _percent(document["uncorrected"])),
                ("corrected", _percent(document["corrected"])),
                ("written", _written(document)),
            ]
        ),
    )


def _written(document: dict[str, Any]) -> str:
    factors, all_bytes = document["calibration"]["bytes_written"], document["bytes_written"]
    rest = bytes_text(all_bytes - factors)
    return f"{bytes_text(factors)} of factors, {rest} of sample buffer and history"


def _restart(document: dict[str, Any]) -> str:
    found = document["restart"]
    return _chapter(
        "5. Restart",
        _prose(
            "A new process, which is told only where the store is, finds the factors "
            f"(number {found['sequence']}) and reads {_percent(found['corrected'])} right."
        ),
    )


def _rollback(document: dict[str, Any]) -> str:
    back, again = document["rollback"], document["again"]
    outcome = "accepted" if again["accepted"] else "refused"
    return _chapter(
        "6. Roll back",
        _prose(
            f"Factors {back['from_sequence']} are retired; without them the network reads "
            f"{_percent(back['accuracy'])} right. A second calibration is {outcome}, and then it "
            f"reads {_percent(again['accuracy'])} right."
        ),
    )


def _end(document: dict[str, Any]) -> str:
    lines = [f"All this took {seconds_text(document['seconds'])}."]
    if document["store"] is not None:
        lines.append(f"The store is {document['store']}; look at it with npp-agent status --store.")
    if document["chart"] is not None:
        lines.append(f"The layer errors as a picture: {document['chart']}")
    else:
        lines.append("The layer errors as a picture need matplotlib: pip install 'npp-agent[host]'")
    return "\n".join([_credit(document["attribution"]), *lines])


def _credit(source: dict[str, str]) -> str:
    return _prose("Digits: " + ", ".join(source[key] for key in CREDITED if key in source) + ".")
