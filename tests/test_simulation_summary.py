"""What many chips add up to, against plain counts; and the report and the table made of it."""

from __future__ import annotations

import base64
import csv
import io
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.simulation_text import report_text
from agent.cli.table import WIDTH
from agent.simulation.chip_life import FACTORS
from agent.simulation.chips_csv import chips_csv
from agent.simulation.factory import Results
from agent.simulation.statistics import proportion, spread
from agent.simulation.summary import WORST, group_summary
from agent.simulation.verdicts import Measure, worst_layer
from agent.workstation.simulation_report import report_page

MEASURE = Measure("accuracy", 0.8, 0.95)
AGES_S = (1.0, 3600.0)


def score(accuracy: float) -> dict[str, float | None]:
    return {"accuracy": accuracy, "agreement": accuracy, "output_sqnr_db": None}


def chip(
    group: int, seed: int, *accuracies: tuple[float, float, float], worst: str = "b"
) -> dict[str, Any]:
    """A chip with (uncorrected, before, after) at each age."""
    shares = {"a <&> $x$": 0.25, "b": 0.25, worst: 0.75}
    ages = []
    for age_s, (uncorrected, before, after) in zip(AGES_S, accuracies, strict=False):
        values = (uncorrected, before, before, after)
        ages.append(
            {
                "age_s": age_s,
                **{who: score(value) for who, value in zip(FACTORS, values, strict=True)},
                "calibration": {"accepted": after > before, "reason": 'r, "s"', "held_back": None},
                "mean_error": {"before": 0.5, "after": 0.25},
                "layers": [
                    {"name": name, "error_before": 0.5, "error_after": 0.25, "share": shares[name]}
                    for name in ("a <&> $x$", "b")
                ],
            }
        )
    return {"group": group, "seed": seed, "ages": ages}


def test_yields_worst_chips_and_failing_layers_are_plain_counts() -> None:
    records = [
        chip(0, 0, (0.4, 0.4, 0.8), (0.3, 0.7, 0.8)),
        chip(0, 1, (0.8, 0.8, 0.8), (0.8, 0.8, 0.7), worst="a <&> $x$"),
        chip(0, 2, (0.8, 0.8, 0.8), (0.2, 0.2, 0.2), worst="a <&> $x$"),
    ]
    found = group_summary(records, MEASURE)
    first, last = found["ages"]
    assert (first["yield"]["before"]["good"], first["yield"]["after"]["good"]) == (2, 3)
    assert (last["yield"]["uncorrected"]["good"], last["yield"]["after"]["good"]) == (1, 1)
    assert first["recovery"]["before"]["worst"] == 0.4 / 0.8
    assert last["recovery"]["after"]["mean"] == pytest.approx((1 + 0.875 + 0.25) / 3)
    assert (first["calibrations"], first["refused"]) == (3, 2)
    assert [(one["seed"], one["age_s"]) for one in found["worst"]] == [
        (2, 3600.0),
        (1, 3600.0),
        (0, 1.0),
    ]
    assert {one["name"]: one["fails_first"] for one in found["layers"]} == {"a <&> $x$": 1, "b": 1}
    many = [chip(0, seed, (0.1, 0.1, seed / 100)) for seed in range(9)]
    worst = group_summary(many, MEASURE)["worst"]
    assert [one["seed"] for one in worst] == list(range(WORST))


def test_without_shares_the_largest_error_names_the_layer() -> None:
    age = chip(0, 0, (0.1, 0.1, 0.1))["ages"][0]
    assert worst_layer(age) == "b"
    for layer, error in zip(age["layers"], (0.9, 0.5), strict=True):
        layer |= {"share": None, "error_before": error}
    assert worst_layer(age) == "a <&> $x$"
    age["layers"][1]["error_before"] = None  # not finite
    assert worst_layer(age) == "b"


@pytest.mark.parametrize(
    ("good", "count", "low", "high"),
    # Newcombe, Stat. Med. 17, 1998, Table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_that_were_published(
    good: int, count: int, low: float, high: float
) -> None:
    found = proportion(good, count)
    assert (round(found["low"], 4), round(found["high"], 4)) == (low, high)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_the_share(pair: tuple[int, int]) -> None:
    found = proportion(*pair)
    assert 0 <= found["low"] <= found["share"] <= found["high"] <= 1
    assert found["low"] < found["high"]


@given(st.lists(st.floats(0, 2, allow_subnormal=False), min_size=1, max_size=50))
def test_a_spread_is_in_order(values: list[float]) -> None:
    found = spread(values)
    assert found["worst"] == min(values)
    assert found["worst"] <= found["p05"] <= found["p50"] <= found["p95"] <= max(values)
    assert found["mean"] == pytest.approx(np.mean(values))


def test_the_three_measures() -> None:
    answers = {"accuracy": 0.6, "agreement": 0.7, "output_sqnr_db": 20.0}
    assert Measure.of(0.8, 0.97, classes=True).recovery(answers) == pytest.approx(0.75)
    assert Measure.of(None, 0.97, classes=True).recovery(answers) == 0.7
    fidelity = Measure.of(None, 0.97, classes=False)
    assert fidelity.recovery(answers) == pytest.approx(0.99)
    assert fidelity.recovery({**answers, "output_sqnr_db": None}) == 0
    assert fidelity.recovery({**answers, "output_sqnr_db": -3.0}) == 0
    assert fidelity.is_good(answers)


def results(groups: int = 1, chips: int = 6, ages: int = 2) -> Results:
    generator = np.random.default_rng(1)
    records = [
        chip(group, seed, *(tuple(np.sort(generator.random(3)).tolist()) for _ in range(ages)))
        for group in range(groups)
        for seed in range(chips)
    ]
    ours = [[r for r in records if r["group"] == group] for group in range(groups)]
    values = [None] if groups == 1 else [float(5 * group) for group in range(groups)]
    summary = {
        "model": "net <script>",
        "scheme": "int8",
        "bundle_id": "abc",
        "chip": "mismatch-10",
        "chips": chips,
        "first_seed": 0,
        "samples": 40,
        "measure": "accuracy",
        "float": 0.8,
        "limit": 0.95,
        "recalibrate": "each",
        "temperature_c": 25.0,
        "supply_v": None,
        "ages_s": list(AGES_S[:ages]),
        "sweep": None if groups == 1 else "percent",
        "groups": [
            {"value": value, **group_summary(some, MEASURE)}
            for value, some in zip(values, ours, strict=True)
        ],
        "failed": [{"group": 0, "seed": 77, "reason": "its worker was killed"}],
    }
    return Results(summary, records, MEASURE)


class Page(HTMLParser):
    """What a browser finds in a page."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def parsed(found: Results) -> Page:
    pytest.importorskip("matplotlib")
    page = report_page(found)
    assert page.warning is None
    parser = Page()
    parser.feed(page.html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize(
    ("groups", "ages", "pictures"), [(1, 1, 2), (1, 2, 4), (3, 2, 13), (7, 1, 13)]
)
def test_the_report_stands_alone_and_has_its_pictures(
    groups: int, ages: int, pictures: int
) -> None:
    page = parsed(results(groups, ages=ages))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == pictures
    for image in images:
        assert image["alt"]
        assert image["src"] is not None
        kind, _, content = image["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(base64.b64decode(content)).tag.endswith("svg")  # noqa: S314  # ours
    names = {name for _, attributes in page.tags for name in attributes}
    assert names <= {"alt", "src", "class", "lang", "charset", "name", "content", "scope"}
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert (
        "meta",
        {"name": "viewport", "content": "width=device-width, initial-scale=1"},
    ) in page.tags


def test_the_report_says_what_the_summary_says() -> None:
    found = results(3)
    page = parsed(found)
    assert "net <script>" in page.text
    assert "chip 77 of group 1: its worker was killed" in page.text
    rows = {(row[0], row[1]): row for row in page.rows}
    for group in found.summary["groups"]:
        for age, word in zip(group["ages"], ("1 s", "1 h"), strict=True):
            row = rows[f"{group['value']:g}", word]
            for share in (
                age["recovery"]["before"]["mean"],
                age["recovery"]["after"]["worst"],
                age["recovery"]["after"]["p05"],
            ):
                assert f"{share:.2%}" in row
            assert f"{age['yield']['after']['share']:.1%}" in row
            assert f"{age['refused']} of {age['calibrations']}" in row
    seeds = [row[1] for row in page.rows if row[0] == "5" and len(row) == 7]
    assert seeds == [str(one["seed"]) for one in found.summary["groups"][1]["worst"]]


def test_the_same_results_give_the_same_page() -> None:
    pytest.importorskip("matplotlib")
    assert report_page(results()).html == report_page(results()).html


@pytest.mark.parametrize("groups", [1, 3])
def test_the_text_fits_a_terminal(groups: int) -> None:
    text = report_text(results(groups).summary, None)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "a <&> $x$" in text
    assert "given up: 1 (seeds 77)" in text


def test_the_table_of_chips_is_read_back() -> None:
    found = results(2)
    text = chips_csv(found.records, [5.0, 10.0], MEASURE)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * 6 * 2
    for row, (record, age) in zip(
        rows, [(r, a) for r in found.records for a in r["ages"]], strict=True
    ):
        assert int(row["seed"]) == record["seed"]
        assert float(row["value"]) == [5.0, 10.0][record["group"]]
        assert float(row["accuracy_after"]) == age["after"]["accuracy"]
        assert float(row["recovery_after"]) == MEASURE.recovery(age["after"])
        assert row["good_after"] == str(MEASURE.is_good(age["after"]))
        assert row["reason"] == 'r, "s"'
        assert row["output_sqnr_db_before"] == ""
