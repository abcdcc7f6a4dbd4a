"""Training: losses, Adam, gradients of a whole network, epochs that make it better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.adam import AdamOptions, adam_step, start
from calib.decision import decision_graph
from calib.errors import SampleError, TrainingError
from calib.graph.executor import run
from calib.graph.model import Array, Graph
from calib.graph.serial import to_document
from calib.loss_gradient import batches, loss_and_gradients, with_constants
from calib.losses import cross_entropy, log_softmax, one_hot
from calib.train.descent import TrainingOptions, train, trainable
from calib.train.networks import Convolution, convolutional_network, he_normal
from calib.train.shifts import shifted


def small(seed: int = 0, classes: int = 3) -> Graph:
    """Two convolutions on images of 6 by 6."""
    layers = (Convolution(4), Convolution(5, stride=2))
    return convolutional_network("s", (1, 6, 6), layers, classes, np.random.default_rng(seed))


def stripes(n: int, seed: int) -> tuple[Array, Array]:
    """Images of 6 by 6 that show a row, a column or a diagonal, with noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, n)
    images = generator.normal(0, 0.3, (n, 1, 6, 6)).astype(np.float32)
    for image, label, place in zip(images[:, 0], labels, generator.integers(0, 6, n), strict=True):
        image[(place, slice(None)) if label == 0 else (slice(None), place)] += 1.0 * (label < 2)
        image[np.arange(6), np.arange(6)] += 1.0 * (label == 2)
    return images, labels


def test_cross_entropy_is_that_of_the_softmax() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
    value, _ = cross_entropy(one_hot(np.array([0, 1]), 3))(logits, np.arange(2))
    assert value == pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2, rel=1e-6)


def test_cross_entropy_looks_up_the_targets_of_its_samples() -> None:
    loss = cross_entropy(one_hot(np.array([0, 1, 2]), 3))
    logits = np.array([[5.0, 0.0, 0.0]])
    assert loss(logits, np.array([0]))[0] < 0.02
    assert loss(logits, np.array([2]))[0] > 5


@given(st.integers(0, 2**32 - 1))
def test_the_gradient_of_the_cross_entropy_equals_finite_differences(seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = generator.dirichlet(np.ones(4), 5)
    logits = generator.normal(0, 3, (3, 4))
    loss, indices = cross_entropy(targets), generator.integers(0, 5, 3)
    _, gradient = loss(logits, indices)
    step = 1e-6
    for place in np.ndindex(logits.shape):
        move = np.zeros_like(logits)
        move[place] = step
        slope = (loss(logits + move, indices)[0] - loss(logits - move, indices)[0]) / (2 * step)
        assert gradient[place] == pytest.approx(slope, abs=1e-7)


def test_log_softmax_does_not_overflow() -> None:
    found = log_softmax(np.float32([[1000.0, 999.0]]))
    np.testing.assert_allclose(np.exp(found).sum(), 1, rtol=1e-6)


def test_labels_out_of_range_are_refused() -> None:
    with pytest.raises(SampleError, match="label 3 of sample 1 is out of range"):
        one_hot(np.array([0, 3]), 3)


def test_adam_does_what_is_computed_by_hand() -> None:
    options = AdamOptions(0.1, first_decay=0.5, second_decay=0.75, epsilon=0.0, weight_decay=0.0)
    weights, state = {"w": np.array([1.0])}, start({"w": np.array([1.0])})
    # Step 1: m = 1, v = 1, corrected 2 and 4: a whole learning rate against the sign.
    weights, state = adam_step(weights, {"w": np.array([2.0])}, state, options)
    assert weights["w"] == pytest.approx([0.9])
    # Step 2: m = 0.5·1 + 0.5·4 = 2.5, / 0.75; v = 0.75·1 + 0.25·16 = 4.75, / (1 − 0.75²).
    weights, state = adam_step(weights, {"w": np.array([4.0])}, state, options)
    change = (2.5 / 0.75) / np.sqrt(4.75 / (1 - 0.75**2))
    assert weights["w"] == pytest.approx([0.9 - 0.1 * change])
    assert state.step == 2


def test_weight_decay_shrinks_matrices_and_leaves_offsets() -> None:
    weights = {"weight": np.ones((1, 2)), "offset": np.ones(2)}
    gradients = {name: np.zeros_like(value) for name, value in weights.items()}
    options = AdamOptions(learning_rate=0.1, weight_decay=0.5)
    moved, _ = adam_step(weights, gradients, start(weights), options)
    np.testing.assert_allclose(moved["weight"], 0.95)
    np.testing.assert_array_equal(moved["offset"], 1)


def test_what_adam_is_given_stays_as_it_is() -> None:
    weights = {"w": np.ones(2)}
    state = start(weights)
    adam_step(weights, {"w": np.ones(2)}, state, AdamOptions())
    np.testing.assert_array_equal(weights["w"], 1)
    np.testing.assert_array_equal(state.first["w"], 0)


def test_all_gradients_of_a_network_equal_finite_differences() -> None:
    graph = decision_graph(small())
    weights = {name: graph.constants[name].astype(np.float64) for name in trainable(graph)}
    generator = np.random.default_rng(1)
    # Offsets away from zero, so that none of the units stands on the kink of its Relu.
    weights = {name: w + generator.normal(0, 0.1, w.shape) for name, w in weights.items()}
    samples, indices = generator.normal(size=(4, 1, 6, 6)), np.arange(4)
    loss = cross_entropy(one_hot(np.array([0, 1, 2, 1]), 3).astype(np.float64))
    _, slopes = loss_and_gradients(graph, weights, samples, indices, loss)
    assert set(slopes) == set(weights)
    step = 1e-6
    for name, weight in weights.items():
        for place in np.ndindex(weight.shape):
            values = []
            for sign in (1, -1):
                moved = weight.copy()
                moved[place] += sign * step
                changed = with_constants(graph, {**weights, name: moved})
                answers = run(changed, samples)[graph.output]
                values.append(loss(answers, indices)[0])
            slope = (values[0] - values[1]) / (2 * step)
            assert slopes[name][place] == pytest.approx(slope, abs=1e-8), (name, place)


def test_training_learns_a_small_task() -> None:
    network = decision_graph(small())
    images, labels = stripes(300, seed=1)
    told: list[int] = []
    done = train(
        network,
        images,
        cross_entropy(one_hot(labels, 3)),
        TrainingOptions(epochs=40, adam=AdamOptions(1e-2, weight_decay=1e-3)),
        np.random.default_rng(2),
        augment=shifted,
        tell=lambda epoch, _loss: told.append(epoch),
    )
    assert told == list(range(1, 41))
    assert done.losses[-1] < done.losses[0] / 4
    others, wanted = stripes(200, seed=3)
    answers = run(done.graph, others)[done.graph.output]
    assert (answers.argmax(axis=1) == wanted).mean() >= 0.95


def test_a_loss_of_another_kind_trains_as_well() -> None:
    teacher, pupil = decision_graph(small(0)), decision_graph(small(1))
    images, _ = stripes(64, seed=1)
    wanted = run(teacher, images)[teacher.output]

    def distance(answers: Array, indices: Array) -> tuple[float, Array]:
        error = answers - wanted[indices]
        return float((error**2).sum()) / len(error), 2 * error / len(error)

    options = TrainingOptions(epochs=60, adam=AdamOptions(1e-2))
    done = train(pupil, images, distance, options, np.random.default_rng(0))
    assert done.losses[-1] < done.losses[0] / 4


def test_only_named_constants_learn_and_the_graph_given_stays_as_it_is() -> None:
    network = decision_graph(small())
    before = {name: value.copy() for name, value in network.constants.items()}
    images, labels = stripes(32, seed=1)
    loss = cross_entropy(one_hot(labels, 3))
    options, name = TrainingOptions(epochs=1), "classifier/offset"
    done = train(network, images, loss, options, np.random.default_rng(0), names=(name,))
    for constant, value in before.items():
        np.testing.assert_array_equal(network.constants[constant], value)
        assert np.array_equal(done.graph.constants[constant], value) == (constant != name)


def test_the_same_seed_gives_the_same_network() -> None:
    images, labels = stripes(50, seed=1)
    loss = cross_entropy(one_hot(labels, 3))
    graphs = [
        train(
            decision_graph(small()),
            images,
            loss,
            TrainingOptions(epochs=2),
            np.random.default_rng(seed),
            augment=shifted,
        ).graph
        for seed in (5, 5, 6)
    ]
    first, again, other = (to_document(graph)[1] for graph in graphs)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_training_stays_in_the_type_of_the_weights() -> None:
    images, labels = stripes(8, seed=1)
    loss = cross_entropy(one_hot(labels, 3))
    network = decision_graph(small())
    done = train(network, images, loss, TrainingOptions(epochs=1), np.random.default_rng(0))
    assert {value.dtype for value in done.graph.constants.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("rate", [1e30, 1e5])
def test_training_that_diverges_says_so(rate: float) -> None:
    images, labels = stripes(64, seed=1)
    loss = cross_entropy(one_hot(labels, 3))
    options = TrainingOptions(epochs=50, adam=AdamOptions(rate, weight_decay=0.1))
    with pytest.raises(TrainingError, match=r"failed in epoch \d+ of 50: .* lower the learning"):
        train(decision_graph(small()), images, loss, options, np.random.default_rng(0))


def test_samples_that_are_not_finite_end_training() -> None:
    images, labels = stripes(8, seed=1)
    images[3, 0, 0, 0] = np.nan
    loss = cross_entropy(one_hot(labels, 3))
    with pytest.raises(TrainingError, match="epoch 1 of 30"):
        train(decision_graph(small()), images, loss, TrainingOptions(), np.random.default_rng(0))


def test_no_samples_are_refused() -> None:
    network, images = decision_graph(small()), np.zeros((0, 1, 6, 6), np.float32)
    loss = cross_entropy(one_hot(np.zeros(0, np.int64), 3))
    with pytest.raises(SampleError, match="no samples"):
        train(network, images, loss, TrainingOptions(), np.random.default_rng(0))


@given(st.integers(1, 50), st.integers(1, 12))
def test_batches_hold_every_sample_once(samples: int, size: int) -> None:
    found = list(batches(samples, size, np.random.default_rng(0)))
    assert sorted(np.concatenate(found)) == list(range(samples))
    assert all(len(batch) == size for batch in found[:-1])


def test_the_builder_makes_what_it_says() -> None:
    graph = small()
    answers = run(graph, np.ones((2, 1, 6, 6), np.float32))[graph.output]
    assert answers.shape == (2, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-6)
    assert [node.op for node in graph.nodes].count("Conv") == 2
    assert len(trainable(graph)) == 6


def test_he_initialisation_has_the_stated_variance() -> None:
    weights = he_normal((64, 32, 3, 3), np.random.default_rng(0))
    assert weights.var() == pytest.approx(2 / (32 * 9), rel=0.05)
    assert abs(weights.mean()) < 1e-3


def test_shifts_move_whole_images_by_at_most_a_pixel() -> None:
    image = np.zeros((200, 2, 5, 5), np.float32)
    image[:, 0, 2, 2], image[:, 1, 2, 2] = 1, 2
    moved = shifted(image, np.random.default_rng(0))
    assert moved.shape == image.shape
    places = np.argwhere(moved[:, 0] == 1)[:, 1:]
    assert {tuple(place) for place in places} == {(r, c) for r in (1, 2, 3) for c in (1, 2, 3)}
    np.testing.assert_array_equal(moved[:, 1], 2 * moved[:, 0])


def test_what_moves_out_of_the_image_is_lost() -> None:
    image = np.ones((50, 1, 3, 3), np.float32)
    moved = shifted(image, np.random.default_rng(0))
    assert {float(one.sum()) for one in moved} == {9.0, 6.0, 4.0}


def test_a_small_network_reads_real_digits() -> None:
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    layers = (Convolution(16), Convolution(24, stride=2))
    generator = np.random.default_rng(0)
    network = convolutional_network("digits", (1, 8, 8), layers, 10, generator)
    done = train(
        decision_graph(network),
        images[:1200],
        cross_entropy(one_hot(digits.target[:1200], 10)),
        TrainingOptions(epochs=15, adam=AdamOptions(1e-2)),
        generator,
    )
    answers = run(done.graph, images[1200:])[done.graph.output]
    assert (answers.argmax(axis=1) == digits.target[1200:]).mean() >= 0.9
