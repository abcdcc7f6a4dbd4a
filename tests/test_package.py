"""A packed network in a bundle and back: every scheme, both forms of references, all damage."""

from __future__ import annotations

import contextlib
import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BundleError
from agent.runtimes.cim import CimRuntime
from agent.store.bundle import Bundle, bundle_bytes, open_bundle
from agent.store.package import Package, package_bytes, read_package, to_parts
from calib.factors import no_factors
from calib.packed import PackedNetwork, requantised
from calib.precision import MIXED
from calib.schemes.weights import FLOAT, SCHEMES
from device_models.array import Chip, State
from device_models.presets import preset
from tests.small_networks import classifier, packed, samples_for, signal_network

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = {"classifier": classifier, "signal": signal_network}


def loaded(network: PackedNetwork) -> PackedNetwork:
    return read_package(open_bundle(package_bytes(Package(network, "small", "cim")))).network


def answers(network: PackedNetwork) -> np.ndarray[Any, Any]:
    runtime = CimRuntime(network, Chip(preset("mismatch-10"), 3), State(), np.random.default_rng(0))
    samples = samples_for(network.graph, 5, seed=9)
    return runtime.run(samples, no_factors(network.layers), {}).answers


def assert_same_references(one: PackedNetwork, other: PackedNetwork) -> None:
    fit = np.arange(one.references.held_back, one.references.count)
    for indices, with_gradients in ((np.arange(3), False), (fit, True)):
        blocks = [
            network.references.block(indices, with_gradients=with_gradients)
            for network in (one, other)
        ]
        assert np.array_equal(blocks[0].inputs, blocks[1].inputs)
        assert np.array_equal(blocks[0].answers, blocks[1].answers)
        for layer in one.layers:
            looks = [block.layers[layer.name] for block in blocks]
            assert np.array_equal(looks[0].rows, looks[1].rows)
            assert np.array_equal(looks[0].outputs, looks[1].outputs)
            assert np.array_equal(*[block.positions[layer.name] for block in blocks])
            if with_gradients:
                assert np.array_equal(looks[0].gradients, looks[1].gradients)


@pytest.mark.parametrize("form", ["stored", "recomputed"])
@pytest.mark.parametrize("scheme", [*SCHEMES, FLOAT])
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_loaded_is_what_was_packed(kind: str, scheme: str, form: str) -> None:
    network = packed(NETWORKS[kind](), scheme=scheme, references_as=form, activation_bits=6)
    found = loaded(network)
    assert [layer.name for layer in found.layers] == [layer.name for layer in network.layers]
    for name, codes in network.weights.items():
        other = found.weights[name]
        assert np.array_equal(codes.codes, other.codes)
        assert np.array_equal(codes.scales, other.scales)
        assert (codes.bits, codes.block_rows) == (other.bits, other.block_rows)
        assert (codes.codebook is None) == (other.codebook is None)
    for name, value in network.graph.constants.items():
        assert np.array_equal(value, found.graph.constants[name]), name
        assert value.dtype == found.graph.constants[name].dtype
    assert found.activations == network.activations
    assert found.ranges == network.ranges
    assert found.decision.classes == network.decision.classes
    assert (found.float_weights is None) == (network.float_weights is None)
    assert_same_references(network, found)
    if scheme != FLOAT:
        assert np.array_equal(answers(network), answers(found))


@pytest.mark.parametrize("bits", [(4,), (8, 3), (16,), MIXED])
def test_the_precisions_that_factors_may_have_come_back(bits: tuple[int, ...]) -> None:
    network = packed(classifier(), scheme="int4", factor_bits=bits)
    assert to_parts(Package(network, "small", "cim"))[0]["factor_precisions"] == list(bits)
    assert loaded(network).factor_bits == bits


def test_a_bundle_of_before_there_was_a_choice_allows_every_precision() -> None:
    """Such a bundle names one number of bits, which is read no more."""

    def older(document: dict[str, Any], _: dict[str, Any]) -> None:
        del document["factor_precisions"]
        document["factor_bits"] = 4

    assert read_package(changed(older)).network.factor_bits == MIXED


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_float_bundle_quantised_on_the_board_is_the_one_packed_so(scheme: str) -> None:
    there = packed(classifier(), scheme=FLOAT, references_as="recomputed")
    board = requantised(loaded(there), scheme)
    workstation = packed(classifier(), scheme=scheme, references_as="recomputed")
    assert np.array_equal(answers(board), answers(workstation))
    assert np.array_equal(answers(loaded(board)), answers(workstation))


def test_the_same_network_gives_the_same_bytes_also_after_loading() -> None:
    network = packed(classifier(), scheme="nf4")
    data = package_bytes(Package(network, "small", "cim", {"model.onnx": b"abc"}))
    again = read_package(open_bundle(data))
    assert again.files == {"model.onnx": b"abc"}
    assert package_bytes(again) == data


def test_four_bits_take_four_bits_and_no_weight_is_stored_twice() -> None:
    network = packed(classifier(), scheme="int4", references_as="stored")
    document, arrays = to_parts(Package(network, "small", "cim"))
    weights = sum(layer.weight.size for layer in network.layers)
    codes = [array for name, array in arrays.items() if name.startswith("codes/")]
    assert sum(array.nbytes for array in codes) == -(-weights // 2)
    assert document["constants"] == ["b1", "b4"]
    assert not any(name.startswith("float16/") for name in arrays)


def test_loading_needs_no_importer_no_training_and_no_workstation(tmp_path: Path) -> None:
    path = tmp_path / "small.npp"
    network = packed(classifier(), scheme="nf4")
    path.write_bytes(package_bytes(Package(network, "small", "cim")))
    script = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("calib.importers", "calib.train", "agent.workstation", "onnx")):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from pathlib import Path
from agent.store.bundle import open_bundle
from agent.store.package import read_package
print(len(read_package(open_bundle(Path({str(path)!r}))).network.layers))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "4\n"


PARTS = to_parts(Package(packed(classifier(), scheme="nf4", references_as="stored"), "s", "cim"))
Change = Callable[[dict[str, Any], dict[str, Any]], None]


def changed(change: Change) -> Bundle:
    """A bundle, whole in itself, whose content somebody changed."""
    document, arrays = copy.deepcopy(PARTS[0]), dict(PARTS[1])
    change(document, arrays)
    return open_bundle(bundle_bytes(document, arrays, {}), name="changed.npp")


def _set(*path: str | int, value: object) -> Change:
    def change(document: dict[str, Any], _: dict[str, Any]) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def _array(name: str, make: Callable[[Any], Any]) -> Change:
    def change(_: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[name] = make(arrays[name])

    return change


def _without(name: str) -> Change:
    return lambda _, arrays: arrays.pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("package_format", value=2), "format 2, this npp-agent reads 1"),
        (_set("scheme", value=7), "'scheme' is 7 and not text"),
        (_set("rank", value=-1), "'rank' is -1"),
        (_set("rank", value=True), "'rank' is True"),
        (_set("budget", value=[]), "'budget' is"),
        (_set("budget", "bytes", value=-1), "'bytes' is -1"),
        (_set("budget", "mac_share", value="all"), "'mac_share' is 'all'"),
        (_set("budget", "mac_share", value=-0.5), "cannot be -0.5"),
        (_set("activation_bits", value=9), "'activation_bits' is 9"),
        (_set("factor_precisions", value=[]), "factor_precisions is [], and it should be a list"),
        (_set("factor_precisions", value=4), "factor_precisions is 4, and"),
        (_set("factor_precisions", value=[4, 7]), "is [4, 7], and it should be a list of some of"),
        (_set("factor_precisions", value=[[4]]), "factor_precisions is [[4]], and"),
        (_set("factor_precisions", value=[4.0]), "factor_precisions is [4.0], and"),
        (_set("factor_precisions", value=["4"]), "factor_precisions is ['4'], and"),
        (_set("factor_precisions", value=None), "factor_precisions is None, and"),
        (_set("layers", value={}), "'layers' is"),
        (_set("layers", value=[]), "constant 'w1' is missing"),
        (_set("layers", 0, "name", value="other"), "the bundle lists other"),
        (_set("layers", 0, "constant", value="b1"), "for a constant of shape"),
        (_set("layers", 0, "constant", value="nowhere"), "no constant 'nowhere'"),
        (_set("layers", 0, "weight", value=None), "0 weights"),
        (_set("layers", 0, "weight", "bits", value=8), "for a constant of shape"),
        (_set("layers", 0, "weight", "block_rows", value=3), "array scales/0"),
        (_set("layers", 0, "weight", "codebook", value=5), "no array 'codebooks/5'"),
        (_set("layers", 0, "activation", "step", value=0.0), "step 0.0 is out of range"),
        (_set("layers", 0, "activation", "zero_point", value=256), "'zero_point' is 256"),
        (_set("graph", "input", "shape", value=[1, 2, 8, 10**8]), "array references/samples"),
        (_set("graph", "nodes", 0, "op", value="Dream"), "Dream"),
        (_set("graph", "nodes", 0, "attributes", "pads", value=[-9, 1, 1, 1]), "changed.npp"),
        (_set("graph", "constants", "w1", value=[10**9, 10**9, 3, 3]), "for a constant of shape"),
        (_set("references", "count", value=23), "array references/samples"),
        (_set("references", "held_back", value=24), "'held_back' is 24"),
        (_set("references", "sample_scale", value="1"), "'sample_scale'"),
        (_set("references", "layers", value=[]), "are of 0 layers"),
        (_set("references_as", value="recomputed"), "no float weights"),
        (_set("decision", "classes", value=False), "no array 'projection'"),
        (_set("ranges", "output_errors", value={"min-max": "small"}), "'min-max'"),
        (_without("codes/1"), "0 weights"),
        (_without("metrics/0"), "no array 'metrics/0'"),
        (_without("constants/0"), "no array 'constants/0'"),
        (_without("references/rows/2"), "no array 'references/rows/2'"),
        (_array("codebooks/0", lambda book: book[:4]), "allow 0 to 3"),
        (_array("scales/0", lambda scales: scales * np.float32("nan")), "not finite"),
        (_array("metrics/0", lambda metric: metric[:-1]), "array metrics/0"),
        (_array("constants/0", lambda bias: bias[:-1]), "constant 'b1' has shape [5]"),
        (_array("references/positions/0", lambda at: at + np.uint16(60)), "has 64 positions"),
        (_array("references/outputs/1", lambda out: out[:, :-1]), "array references/outputs/1"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_sentence(change: Change, said: str) -> None:
    bundle = changed(change)
    with pytest.raises(BundleError) as caught:
        read_package(bundle)
    sentence = str(caught.value)
    assert said in sentence
    assert "\n" not in sentence
    assert len(sentence) < 700


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a document that holds a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inner:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += _places(item, (*path, key))
    return found


@settings(max_examples=150)
@given(
    st.sampled_from(_places(PARTS[0])),
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 2**40),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.lists(st.integers(-2, 9), max_size=3),
        st.just({}),
    ),
)
def test_any_value_in_any_place_loads_or_is_one_sentence(
    path: tuple[str | int, ...], value: object
) -> None:
    bundle = changed(_set(*path, value=value))
    with contextlib.suppress(BundleError):
        read_package(bundle)
