"""One layer's main path in a chip's arrays: one product, or one for each level of its channels."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.base import Float32
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.schemes.activations import ActivationCode
from calib.schemes.mixed import Level, MixedLayer
from calib.schemes.weights import QuantisedWeights
from calib.typical_codes import TypicalCodes
from device_models.array import Array, ArrayWeights, Chip, State, program
from device_models.contract import LevelArray


class MainPath(Protocol):
    """A layer as the chip computes it."""

    @property
    def arrays(self) -> Mapping[str, Array]:
        """What stands in the chip, by name."""
        ...

    def of_rows(self, rows: Float32) -> Float32:
        """Outputs [..., m] for rows [..., groups, d]."""
        ...

    def of_tensor(self, x: Float32, outputs: Float32) -> None:
        """Outputs [n, positions, m] for the layer's input tensor; padding reads as zero."""
        ...


@dataclass(frozen=True)
class Place:
    """Which chip, in which state, and where its read noise comes from."""

    chip: Chip
    state: State
    generator: np.random.Generator
    fast: bool = False
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)
    """An array does one thing at a time, and so does the generator of its noise."""


def main_path(
    network: PackedNetwork, layer: LinearLayer, typical: TypicalCodes, place: Place
) -> MainPath:
    """Write a layer into the chip."""
    if layer.name in network.mixed:
        return _mixed_path(network.mixed[layer.name], layer, typical, place)
    code = network.activations[layer.name]
    array = program(
        place.chip,
        place.state,
        layer.name,
        written(network.weights[layer.name]),
        network.activation_bits,
        typical=partial(typical.of, layer),
        fast=place.fast,
        zero_point=code.zero_point,
    )
    return UniformPath(layer, code, array, place)


@dataclass(frozen=True)
class UniformPath:
    """One array, one code for all inputs."""

    layer: LinearLayer
    code: ActivationCode
    array: Array
    place: Place

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The one."""
        return {self.layer.name: self.array}

    def of_rows(self, rows: Float32) -> Float32:
        """See `MainPath.of_rows`."""
        return self._multiply(self.code.encode(rows))

    def of_tensor(self, x: Float32, outputs: Float32) -> None:
        """See `MainPath.of_tensor`; arrays that need no planes take signed whole numbers."""
        if hasattr(self.array, "multiply_levels"):
            self._multiply_levels(self.layer.rows(self.code.levels(x)), outputs)
        else:
            rows = self.layer.rows(self.code.encode(x), fill=self.code.zero_point)
            outputs[:] = self._multiply(rows)

    def _multiply(self, codes: NDArray[np.uint8]) -> Float32:
        flat = codes.reshape(-1, self.layer.groups, self.layer.inputs)
        with self.place.one_at_a_time:
            product = self.array.multiply(flat, self.code.zero_point, self.place.generator)
        outputs = product.reshape(*codes.shape[:-2], self.layer.outputs)
        outputs *= np.float32(self.code.step)
        outputs += self.layer.bias
        return outputs

    def _multiply_levels(self, levels: Float32, outputs: Float32) -> None:
        layer, array = self.layer, cast("LevelArray", self.array)
        flat = levels.reshape(-1, layer.groups, layer.inputs)
        out = outputs.reshape(-1, layer.groups, layer.outputs // layer.groups)
        with self.place.one_at_a_time:
            array.multiply_levels(flat, self.code.step, self.place.generator, out)
        outputs += layer.bias


@dataclass(frozen=True)
class LevelPath:
    """The channels of one level: an array with as many planes and input slices as it has bits."""

    layer: LinearLayer
    """The layer as if it had no other channels."""

    level: Level
    taps: int
    array: Array
    selected: slice | NDArray[np.intp]
    """Its channels in the layer's input tensor."""

    place: Place

    def of_rows(self, rows: Float32) -> Float32:
        """Its share [n, groups, m] for the layer's rows [n, groups, d]."""
        return self._multiply(self.level.encode_rows(rows, self.taps))

    def of_tensor(self, x: Float32) -> Float32:
        """The same for the layer's input tensor."""
        axis = 1 if self.layer.window is not None else x.ndim - 1
        picked = x[(slice(None),) * axis + (self.selected,)]
        steps = self.level.steps.reshape(-1, *(1,) * (x.ndim - 1 - axis))
        codes = self.level.encode(picked, steps)
        rows = self.layer.rows(codes, fill=self.level.zero_point)
        return self._multiply(rows.reshape(-1, self.layer.groups, self.layer.inputs))

    def _multiply(self, codes: NDArray[np.uint8]) -> Float32:
        level = self.level
        with self.place.one_at_a_time:
            product = self.array.multiply(codes, level.zero_point, self.place.generator)
        if level.centre:  # in digital, one sum for all outputs
            sums = codes.sum(axis=2, dtype=np.int64) - level.zero_point * codes.shape[2]
            product += level.scales * (sums[..., None] * level.centre).astype(np.float32)
        return product


@dataclass(frozen=True)
class MixedPath:
    """One product for each level, added up."""

    layer: LinearLayer
    levels: tuple[LevelPath, ...]

    @property
    def arrays(self) -> Mapping[str, Array]:
        """One for each level."""
        return {part.layer.name: part.array for part in self.levels}

    def of_rows(self, rows: Float32) -> Float32:
        """See `MainPath.of_rows`."""
        flat = rows.reshape(-1, self.layer.groups, self.layer.inputs)
        shares = [part.of_rows(flat) for part in self.levels]
        return self._sum(shares).reshape(*rows.shape[:-2], self.layer.outputs)

    def of_tensor(self, x: Float32, outputs: Float32) -> None:
        """See `MainPath.of_tensor`."""
        shares = [part.of_tensor(x) for part in self.levels]
        outputs[:] = self._sum(shares).reshape(outputs.shape)

    def _sum(self, shares: list[Float32]) -> Float32:
        total = shares[0]
        for share in shares[1:]:
            total += share
        flat = total.reshape(len(total), self.layer.outputs)
        flat += self.layer.bias
        return flat


def level_name(layer: LinearLayer, level: Level) -> str:
    """What a level's cells are called: with the chip's seed it decides which cells they are."""
    return f"{layer.name}@{level.bits}"


def _mixed_path(
    mixed: MixedLayer, layer: LinearLayer, typical: TypicalCodes, place: Place
) -> MixedPath:
    parts: list[LevelPath] = []
    try:
        for level in mixed.levels:
            array = program(
                place.chip,
                place.state,
                level_name(layer, level),
                written_level(level),
                level.bits,
                typical=partial(_typical, typical, layer, level, mixed.taps),
                fast=place.fast,
                zero_point=level.zero_point,
            )
            alone, selected = _alone(layer, level), _selected(layer, level, mixed)
            parts.append(LevelPath(alone, level, mixed.taps, array, selected, place))
    except BaseException:
        close_arrays(part.array for part in parts)
        raise
    return MixedPath(layer, tuple(parts))


def close_arrays(arrays: Iterable[Array]) -> None:
    """Close arrays that hold more than memory: a plugin's, with a port or a board behind."""
    for array in arrays:
        if callable(close := getattr(array, "close", None)):
            close()


def _typical(
    typical: TypicalCodes, layer: LinearLayer, level: Level, taps: int
) -> NDArray[np.uint8]:
    return level.encode_rows(typical.rows(layer), taps)


def _alone(layer: LinearLayer, level: Level) -> LinearLayer:
    """The layer with the channels of one level only; its weights are the array's."""
    channels = layer.groups * len(level.channels)
    shape = layer.input_shape
    kept = (channels, *shape[1:]) if layer.window is not None else (*shape[:-1], channels)
    nothing = np.broadcast_to(np.float32(0), level.codes.shape)
    name = level_name(layer, level)
    return replace(layer, name=name, weight=nothing, input_shape=kept)


def _selected(layer: LinearLayer, level: Level, mixed: MixedLayer) -> slice | NDArray[np.intp]:
    """The level's channels in the input tensor, as a slice where they stand together."""
    firsts = np.arange(layer.groups)[:, None] * mixed.channels
    places = (firsts + level.channels).reshape(-1)
    if (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def written(weights: QuantisedWeights) -> ArrayWeights:
    """A layer's codes as the array takes them."""
    return ArrayWeights(
        codes=weights.codes,
        scales=weights.scales,
        block_rows=weights.block_rows,
        bits=weights.bits,
        codebook=weights.codebook,
    )


def written_level(level: Level) -> ArrayWeights:
    """A level's codes as the array takes them."""
    rows = level.codes.shape[1]
    return ArrayWeights(level.codes, level.scales[:, None], rows, level.bits)
