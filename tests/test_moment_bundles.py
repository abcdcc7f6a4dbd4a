"""Bundles without samples: what is in them, what they load as, and what damage is told apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BundleError
from agent.store.bundle import Bundle, bundle_bytes, open_bundle
from agent.store.package import Package, package_bytes, read_package, to_parts
from calib.drawn_references import DrawnReferences
from calib.errors import CalibError
from calib.graph.model import Graph
from calib.input_moments import InputMoments
from calib.packed import PackedNetwork, requantised
from calib.prepare import PackOptions, prepare
from calib.references import encode_samples
from calib.schemes.activations import ActivationCode
from calib.schemes.weights import FLOAT, SCHEMES
from tests.small_networks import chain, classifier, packed, samples_for, signal_network

Array = np.ndarray[Any, Any]
NETWORKS: dict[str, Graph] = {
    "classifier": classifier(),
    "grouped": classifier(groups=2),
    "signal": signal_network(),
    "chain": chain(3, relu=True),
}


def of_moments(graph: Graph, **options: Any) -> PackedNetwork:
    return packed(graph, **{"scheme": "int4", "references_as": "moments", **options})


def bytes_of(network: PackedNetwork) -> bytes:
    return package_bytes(Package(network, "small", "cim"))


def loaded(network: PackedNetwork) -> PackedNetwork:
    return read_package(open_bundle(bytes_of(network))).network


def drawn_by(network: PackedNetwork) -> DrawnReferences:
    assert isinstance(network.references, DrawnReferences)
    return network.references


@pytest.mark.parametrize(
    ("scheme", "rank"), [*((scheme, 16) for scheme in (*SCHEMES, FLOAT)), ("int4", 0), ("int4", 4)]
)
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_loaded_draws_what_was_packed(kind: str, scheme: str, rank: int) -> None:
    network = of_moments(NETWORKS[kind], scheme=scheme, moment_rank=rank, count=40)
    found = loaded(network)
    one, other = drawn_by(network), drawn_by(found)
    assert (found.references_as, found.has_samples) == ("moments", False)
    assert (other.samples, other.count, other.held_back) == (40, 40, 10)
    assert (other.rows, other.seed, other.rank) == (one.rows, one.seed, one.rank)
    assert other.rank <= 10  # a quarter of the samples
    for layer in network.layers:
        looks = [refs.block(np.array([0, 17, 39])).layers[layer.name] for refs in (one, other)]
        np.testing.assert_array_equal(looks[0].rows, looks[1].rows)
        np.testing.assert_array_equal(looks[0].outputs, looks[1].outputs)
    assert bytes_of(found) == bytes_of(network)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_float_bundle_keeps_its_moments_when_it_is_quantised_on_the_board(scheme: str) -> None:
    board = requantised(loaded(of_moments(classifier(), scheme=FLOAT)), scheme)
    assert board.float_weights is not None
    assert bytes_of(loaded(board)) == bytes_of(of_moments(classifier(), scheme=scheme))


def forms(samples: Array) -> list[Array]:
    """Every form in which samples might be kept, one row of values a sample."""
    flat = samples.reshape(len(samples), -1)
    codes = encode_samples(samples).codes.reshape(len(samples), -1)
    with np.errstate(under="ignore"):
        return [flat, flat.astype(np.float64), flat.astype(np.float16), flat.astype(">f4"), codes]


def found_in(data: bytes, samples: Array) -> int:
    """How many samples have eight values in a row, in any form, in these bytes."""
    found = 0
    for kept in zip(*forms(samples), strict=True):
        windows = (row[at : at + 8] for row in kept for at in range(0, len(row) - 7, 4))
        # Runs of one value, such as black, are in every file.
        found += any(w.tobytes() in data for w in windows if len(np.unique(w)) > 4)
    return found


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("form", ["moments", "stored", "recomputed"])
def test_no_sample_is_in_a_bundle_of_moments(form: str, images: bool) -> None:  # noqa: FBT001
    graph = classifier()
    samples = samples_for(graph, 24)
    if images:
        samples = np.clip(np.rint(samples * 40 + 128), 0, 255).astype(np.float32)
    options = PackOptions("int4", held_back=6, references=18, references_as=form)
    data = bytes_of(prepare(graph, samples, None, options))
    assert found_in(data, samples) == (0 if form == "moments" else 24)


def test_a_bundle_of_moments_says_how_many_samples_were_seen_and_keeps_no_other_parts() -> None:
    document, arrays = to_parts(Package(of_moments(classifier(), count=32), "small", "cim"))
    assert document["references"] == {"count": 32, "held_back": 8, "samples": 32}
    assert document["references_as"] == "moments"
    assert not [name for name in arrays if name.startswith("references/")]
    kept = {name for name in arrays if name.startswith("moments/")}
    parts = ("means", "deviations", "loadings")
    assert kept == {f"moments/{part}/{i}" for part in parts for i in range(4)}


def test_the_bytes_are_those_of_the_plan_and_do_not_grow_with_the_samples() -> None:
    sizes = [len(bytes_of(of_moments(classifier(), count=count))) for count in (64, 512)]
    assert abs(sizes[0] - sizes[1]) < 200  # digits of numbers in the manifest


def test_the_rank_is_lowered_to_fit_the_budget_and_what_never_fits_is_refused() -> None:
    full = drawn_by(of_moments(classifier(), count=64))
    weights = sum(2 * layer.weight.size for layer in full.layers)
    little = (weights + 1024) // 1024 * 1024
    small = drawn_by(of_moments(classifier(), count=64, budget_bytes=little))
    assert 0 < small.rank < full.rank == 16
    assert weights + sum(one.bytes for one in small.moments.values()) <= little
    with pytest.raises(CalibError, match=r"moments, do not fit 1 KiB; .* takes 2 KiB"):
        of_moments(classifier(), budget_bytes=1024)


# Three inputs, two draws of two rows, all by hand: this locks the arrays and the order of draws.
SMALL = InputMoments(
    means=np.array([[100, 20, 50]], np.float16),
    deviations=np.array([[10, 30, 0]], np.float16),
    loadings=np.array([[[127], [-64], [0]]], np.int8),
)
CODE = ActivationCode(0.5, 10, 8)
ROWS = [[39.48015, 6.23583, 20.0], [47.56992, -5.0, 20.0]]


def test_golden_bytes_of_moments() -> None:
    network = of_moments(chain(1, 3))
    references = replace(drawn_by(network), moments={"layer0": SMALL})
    _, arrays = to_parts(Package(replace(network, references=references), "small", "cim"))
    assert arrays["moments/means/0"].tobytes().hex() == "4056004d4052"
    assert arrays["moments/deviations/0"].tobytes().hex() == "0049804f0000"
    assert arrays["moments/loadings/0"].tobytes().hex() == "7fc000"
    assert [arrays[f"moments/{part}/0"].shape for part in ("means", "deviations", "loadings")] == [
        (1, 3),
        (1, 3),
        (1, 3, 1),
    ]


def test_golden_rows() -> None:
    """The order in which docs/format.md says that numbers are drawn, by hand."""
    stream = np.random.default_rng([7, 0, 1])
    common = stream.standard_normal((2, 1, 1), np.float32)[:, 0]
    own = stream.standard_normal((2, 1, 3), np.float32)[:, 0]
    loading = np.array([127, -64, 0]) / 127
    standard = common * loading + own * np.sqrt(1 - loading**2)
    steps = np.clip([100, 20, 50] + np.array([10, 30, 0]) * standard, 0, 255)
    found = SMALL.drawn(2, CODE, np.random.default_rng([7, 0, 1]))[:, 0]
    np.testing.assert_allclose(found, (steps - 10) * 0.5, rtol=1e-5)
    np.testing.assert_allclose(found, ROWS, atol=1e-3)


PARTS = to_parts(Package(of_moments(classifier(), scheme="nf4"), "s", "cim"))
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def changed(change: Change) -> Bundle:
    document, arrays = copy.deepcopy(PARTS[0]), dict(PARTS[1])
    change(document, arrays)
    return open_bundle(bundle_bytes(document, arrays, {}), name="changed.npp")


def in_references(**values: object) -> Change:
    return lambda document, _: document["references"].update(values)


def in_document(**values: object) -> Change:
    return lambda document, _: document.update(values)


def array(name: str, make: Callable[[Any], Any]) -> Change:
    return lambda _, arrays: arrays.update({name: make(arrays[name])})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_references(count=1), "'count' is 1 and not a whole number from 2 to"),
        (in_references(count=10**9), "'count' is 1000000000"),
        (in_references(held_back=0), "'held_back' is 0"),
        (in_references(held_back=24), "'held_back' is 24"),
        (in_references(samples=None), "'samples' is None"),
        (in_document(references_as="stored"), "no array 'references/samples'"),
        (in_document(references_as="guessed"), "kept as 'guessed', this npp-agent knows recomp"),
        (in_document(positions_per_sample=10**6), "'positions_per_sample' is 1000000"),
        (lambda document, _: document["graph"]["input"].update(shape=[1, 2, 8, 10**8]), "takes 16"),
        (lambda _, arrays: arrays.pop("moments/means/1"), "no array 'moments/means/1'"),
        (lambda _, arrays: arrays.pop("float16/0"), "no float weights"),
        (array("moments/means/0", lambda means: means[:, :-1]), "array moments/means/0"),
        (array("moments/means/0", lambda means: means * np.float16("nan")), "not finite"),
        (array("moments/deviations/0", lambda spread: -1 - spread), "negative deviations"),
        (array("moments/loadings/0", lambda some: np.full_like(some, -128)), "below -1"),
        (array("moments/loadings/0", lambda some: some.repeat(9, axis=2)), "moments of rank 54"),
        (array("moments/loadings/2", lambda some: some.astype(np.int16)), "array moments/loadings"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_sentence(change: Change, said: str) -> None:
    bundle = changed(change)
    with pytest.raises(BundleError) as caught:
        read_package(bundle)
    sentence = str(caught.value)
    assert said in sentence
    assert "\n" not in sentence


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_finite_moments_draw_finite_rows_in_range(seed: int) -> None:
    generator = np.random.default_rng(seed)
    moments = InputMoments(
        means=generator.uniform(-6e4, 6e4, (2, 5)).astype(np.float16),
        deviations=generator.uniform(0, 6e4, (2, 5)).astype(np.float16),
        loadings=generator.integers(-127, 128, (2, 5, 5)).astype(np.int8),
    )
    rows = moments.drawn(20, CODE, generator)
    assert rows.min() >= -5
    assert rows.max() <= 122.5
