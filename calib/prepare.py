"""From a float network and samples to a packed one: the mathematics of `pack`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.budget import Budget
from calib.channelwise import BITS_MEAN, LEVELS, Learner, learnt, levelled, quantised_layers
from calib.costs import left_for_branches
from calib.decision import Decision, check_labels, decision_graph, ends_in_classes
from calib.drawn_references import references_from_moments
from calib.errors import GraphError, SampleError
from calib.given import Prescribed
from calib.graph.executor import check_samples, run
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Graph
from calib.output_metric import metric_columns
from calib.packed import (
    PackedNetwork,
    as_float32,
    requantised,
    with_codes,
    with_levels,
    with_weights,
)
from calib.precision import MIXED
from calib.ranges import choose_ranges
from calib.reference_plan import MOMENT_RANK, Costs, ReferencePlan, plan_references, split_samples
from calib.references import (
    References,
    SampleCodes,
    encode_samples,
    recompute_references,
)
from calib.schemes.activations import ActivationCode
from calib.schemes.mixed import MixedLayer, checked_levels
from calib.schemes.names import CHANNELWISE
from calib.schemes.weights import FLOAT, scheme_named
from calib.stored_references import store_references

Float32 = NDArray[np.float32]
MOMENT_POSITIONS = 64
"""Of each layer and sample, that moments are taken over: they cost nothing on the board."""


@dataclass(frozen=True)
class PackOptions:
    """What the user of `pack` chooses."""

    scheme: str = "int8"
    activation_bits: int = 8
    rank: int = 8
    references: int = 96
    held_back: int = 32
    references_as: str = "auto"
    moment_rank: int = MOMENT_RANK
    """Of the correlations of each layer's inputs, where moments stand for samples."""

    budget_bytes: int = 1024 * 1024
    factor_bits: tuple[int, ...] = MIXED
    seed: int = 0
    levels: tuple[int, ...] = LEVELS
    """Of scheme `channelwise`: bits that an input channel can have, at most three."""

    bits_mean: float = BITS_MEAN
    """Of scheme `channelwise`: mean bits of all weights, at most."""

    surrogate_bytes: int | None = None
    """What all factors may take; None: what `rank` stands for."""

    surrogate_mac_share: float | None = None
    """The surrogates' multiply-accumulates, at most, as a share of the network's."""

    slowdown: float | None = None
    """The time of a sample with branches, at most, in times of that without any."""

    @property
    def budget(self) -> Budget:
        """What factors may cost."""
        rank = self.rank if self.surrogate_bytes is None else None
        return Budget(rank, self.surrogate_bytes, self.surrogate_mac_share, self.slowdown)


def check_data(graph: Graph, x: Float32, labels: NDArray[np.integer] | None) -> Decision:
    """Check samples and labels against the network; say how its answers are judged.

    Raises:
        SampleError: wrong shape, values that are not finite, labels out of range or number.
    """
    check_samples(graph, x)
    if not len(x):
        raise SampleError("the data hold no samples; give at least eight")
    if not np.isfinite(x).all():
        sample = int(np.argwhere(~np.isfinite(x))[0][0])
        raise SampleError(f"sample {sample} holds values that are not finite; leave it out")
    answers = run(graph, x[:1])[graph.output]
    outputs = answers[0].size
    if labels is not None:
        check_labels(labels, len(x), outputs)
    classes = answers.ndim == 2 and outputs > 1 and (labels is not None or ends_in_classes(graph))
    if classes:
        return Decision(classes=True)
    projection = np.random.default_rng(0).standard_normal(outputs).astype(np.float32)
    return Decision(classes=False, projection=projection / np.float32(np.sqrt(outputs)))


@np.errstate(under="ignore")  # a number too small for its type is zero
def prepare(  # noqa: PLR0913  # what is prescribed, and training, come on top
    graph: Graph,
    x: Float32,
    labels: NDArray[np.integer] | None,
    options: PackOptions,
    tell: Callable[[str], None] = lambda _: None,
    *,
    prescribed: Prescribed | None = None,
    learner: Learner | None = None,
) -> PackedNetwork:
    """Quantise a float network and make its references.

    Args:
        graph: the float network.
        x: samples [n, ...] in the network's own layout, file order.
        labels: [n], only looked at to check them and to know that outputs are classes.
        options: what the user chose.
        tell: is told what is being done, for a progress line.
        prescribed: codes of a network that is quantised already, or what they have to span.
        learner: of scheme `channelwise`: trains levels and weights.

    Raises:
        CalibError: samples, labels or options that cannot be used; the sentence says which.
    """
    fixed = prescribed or Prescribed()
    fixed.check(options.scheme, options.activation_bits)
    material = _gathered(graph, x, labels, options)
    if options.scheme == CHANNELWISE:
        return _channelwise(material, options, fixed, tell, learner)
    unquantised = _unquantised(material, options, fixed, tell)
    tell("quantising")
    if fixed.codes is not None:
        return with_codes(unquantised, options.scheme, fixed.codes.weights)
    return unquantised if options.scheme == FLOAT else requantised(unquantised, options.scheme)


def _channelwise(
    given: _Material,
    options: PackOptions,
    fixed: Prescribed,
    tell: Callable[[str], None],
    learner: Learner | None,
) -> PackedNetwork:
    """Layers whose input channels have levels, in an order that brings levels together."""
    fitting = np.arange(given.plan.held_back, given.plan.samples)
    samples = given.samples.decoded(fitting)
    generator = np.random.default_rng(options.seed)
    tell("choosing levels")
    found = levelled(
        given.graph, samples, given.decision, options.levels, options.bits_mean, generator
    )
    both = learnt(found, options.levels, options.bits_mean, learner)
    graph = both.untrained.graph
    layers = linear_layers(decision_graph(graph))
    unquantised = _unquantised(replace(given, graph=graph, layers=layers), options, fixed, tell)
    tell("quantising")
    trained, bits = decision_graph(both.trained), both.untrained.bits
    mixed: Mapping[str, MixedLayer] = quantised_layers(trained, bits, samples, generator)
    if learner is not None:
        mixed = learner.tuned(both.trained, mixed)
    return with_levels(unquantised, CHANNELWISE, mixed)


@dataclass(frozen=True)
class _Material:
    """What a network is packed from."""

    graph: Graph
    decision: Decision
    layers: tuple[LinearLayer, ...]
    plan: ReferencePlan
    samples: SampleCodes


def _gathered(
    graph: Graph, x: Float32, labels: NDArray[np.integer] | None, options: PackOptions
) -> _Material:
    """Check everything that the user gave, before the work, and decide what is kept."""
    if options.scheme == CHANNELWISE:
        checked_levels(options.levels)
    elif options.scheme != FLOAT:
        scheme_named(options.scheme)
    decision = check_data(graph, x, labels)
    layers = linear_layers(decision_graph(graph))
    if not layers:
        raise GraphError(f"network {graph.name!r} has no linear layer: there is nothing to pack")
    left_for_branches(options.budget, layers)
    return _Material(graph, decision, layers, *_plan(graph, layers, x, options))


def _unquantised(
    given: _Material, options: PackOptions, fixed: Prescribed, tell: Callable[[str], None]
) -> PackedNetwork:
    float_graph, layers, plan = decision_graph(given.graph), given.layers, given.plan
    x = given.samples.decoded(np.arange(plan.samples))
    generator = np.random.default_rng(options.seed)
    tell("finding ranges")
    bits = options.activation_bits
    activations, ranges = choose_ranges(float_graph, layers, x, bits, generator, prescribed=fixed)
    tell("measuring what the answer is sensitive to")
    metrics = metric_columns(float_graph, layers, x[plan.held_back :], given.decision, generator)
    tell("writing references")
    halved = {layer.name: _half(layer) for layer in layers}
    network = with_weights(given.graph, layers, as_float32(halved))
    return PackedNetwork(
        graph=network,
        layers=linear_layers(decision_graph(network)),
        scheme=FLOAT,
        activation_bits=bits,
        rank=options.rank,
        factor_bits=options.factor_bits,
        weights={},
        activations=activations,
        ranges=ranges,
        decision=given.decision,
        metrics=metrics,
        references=_references(network, given, activations, options.seed),
        references_as=plan.form,
        positions_per_sample=plan.positions,
        seed=options.seed,
        float_weights=halved,
        budget_bytes=options.surrogate_bytes,
        budget_mac_share=options.surrogate_mac_share,
        budget_slowdown=options.slowdown,
    )


def _half(layer: LinearLayer) -> NDArray[np.float16]:
    """The layer's weights in half precision.

    Raises:
        GraphError: one is too large for that.
    """
    largest = float(np.abs(layer.weight).max())
    if not largest <= float(np.finfo(np.float16).max):
        raise GraphError(
            f"layer {layer.name}: the largest weight is {largest:.4g}, and a bundle holds at most "
            f"{np.finfo(np.float16).max:.0f}; scale the layer down and the next one up"
        )
    with np.errstate(under="ignore"):  # next to others of a layer, such a weight is zero
        return layer.weight.astype(np.float16)


def _plan(
    graph: Graph,
    layers: tuple[LinearLayer, ...],
    x: Float32,
    options: PackOptions,
) -> tuple[ReferencePlan, SampleCodes]:
    split = split_samples(len(x), options.held_back, options.references)
    samples = encode_samples(x[: sum(split)].astype(np.float32))
    answers = run(graph, x[:1])[graph.output]
    kept_anyway = options.scheme == FLOAT
    sample_bytes = samples.bytes_per_sample
    costs = Costs(layers, sample_bytes, answers.nbytes, kept_anyway, options.moment_rank)
    plan = plan_references(costs, options.references_as, options.budget_bytes, *split)
    kept = np.concatenate([np.arange(plan.held_back), split[0] + np.arange(plan.references)])
    return plan, SampleCodes(samples.codes[kept], samples.scale, samples.offset)


def _references(
    network: Graph, given: _Material, activations: Mapping[str, ActivationCode], seed: int
) -> References:
    plan = given.plan
    moments = plan.form == "moments"
    recomputed = recompute_references(
        network,
        given.decision,
        given.samples,
        held_back=plan.held_back,
        positions=MOMENT_POSITIONS if moments else plan.positions,
        seed=seed,
    )
    if moments:
        return references_from_moments(
            recomputed, activations, rank=plan.rank, rows=plan.positions, seed=seed
        )
    if plan.form == "recomputed":
        return recomputed
    return store_references(recomputed, recomputed.layers, given.samples)
