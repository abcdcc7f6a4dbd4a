"""The plan of a bundle's `.tflite` files: as it was, or one sentence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BundleError
from agent.runtimes.tflite_plan import FILE_NAME, Place, decode_plan, encode_plan
from tests.plans import LAYERS, plan_of


def test_a_plan_comes_back_as_it_was() -> None:
    assert decode_plan(encode_plan(plan_of()), LAYERS) == plan_of()


def test_a_place_knows_its_end() -> None:
    assert Place(8, (2, 3), "int8", "OI").end == 14
    assert Place(8, (2, 3), "float32", "OI").end == 32


def changed(at: str, value: Any) -> bytes:
    """The plan with one entry replaced; `at` is a path of keys, `first` the first layer's name."""
    document = json.loads(encode_plan(plan_of()))
    *path, last = at.split(".")
    place = document
    for key in path:
        place = place[LAYERS[0].name if key == "first" else key]
    place[LAYERS[0].name if last == "first" else last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: b"{", "is no JSON"),
        (lambda: b"\xff", "is no JSON"),
        (lambda: b"[]", "is not of format 1"),
        (lambda: changed("format", 2), "is not of format 1"),
        (lambda: changed("layers", []), "'layers' is \\[\\] and not an object"),
        (lambda: changed("layers.first", None), "and not an object"),
        (lambda: changed("layers.other", {}), "layer 'other', which the network does not have"),
        (lambda: changed("surrogates_at", "elsewhere"), "not pre-activation or post-activation"),
        (lambda: changed("layers.first.activation", "tanh"), "not none or relu or relu6"),
        (lambda: changed("layers.first.rank", -1), "from 0 to 65535"),
        (lambda: changed("layers.first.rank", 0), "stands there at rank 0"),
        (lambda: changed("layers.first.rank", 3), "of another network"),
        (lambda: changed("layers.first.tap_tensors.main", 3), "and not text"),
        (lambda: changed("layers.first.tap_tensors.output", 3), "and not text"),
        (lambda: changed("layers.first.model.a", None), "and not an object"),
        (lambda: changed("layers.first.model.bias.dtype", "int8"), "and not int32"),
        (lambda: changed("layers.first.model.bias.offset", -4), "whole number from 0"),
        (lambda: changed("layers.first.model.bias.shape", [True]), "list of whole numbers from 1"),
        (lambda: changed("layers.first.model.bias.shape", 4), "list of whole numbers from 1"),
        (lambda: changed("layers.first.model.bias.shape", [10**6]), "holds 1000000 numbers"),
        (lambda: changed("layers.first.taps.weights.form", "vector"), "not OHWI or 1HWO or OI"),
    ],
)
def test_what_is_wrong_with_a_plan_is_one_sentence(
    content: Callable[[], bytes], sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence) as caught:
        decode_plan(content(), LAYERS)
    said = str(caught.value)
    assert FILE_NAME in said
    assert "pack the model again" in said
    assert "\n" not in said


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a document something stands."""
    if isinstance(value, dict):
        inside = [path for key, item in value.items() for path in paths(item, (*here, key))]
    elif isinstance(value, list):
        inside = [path for i, item in enumerate(value) for path in paths(item, (*here, i))]
    else:
        inside = []
    return [here, *inside]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.data())
def test_a_plan_with_anything_in_it_is_read_or_refused(data: st.DataObject) -> None:
    document = json.loads(encode_plan(plan_of()))
    *path, last = data.draw(st.sampled_from(paths(document)[1:]))
    place = document
    for key in path:
        place = place[key]
    place[last] = data.draw(ANYTHING)
    with contextlib.suppress(BundleError):
        found = decode_plan(json.dumps(document).encode(), LAYERS)
        assert decode_plan(encode_plan(found), LAYERS) == found
