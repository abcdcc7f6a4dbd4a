"""Products of matrices: Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from calib.graph.model import Array
from calib.graph.operations.access import given, incoming, integer, number, optional
from calib.graph.operations.elementwise import unbroadcast
from calib.graph.registry import Attributes, Inputs, Tape, register


def _gemm(inputs: Inputs, attributes: Attributes) -> tuple[Array, ...]:
    """Alpha · a' b' + beta · c, where a' and b' are a and b or their transposes."""
    a, b = _turned(inputs, attributes)
    y = a @ b
    alpha, beta = number(attributes, "alpha", 1.0), number(attributes, "beta", 1.0)
    if alpha != 1.0:
        y = (y * alpha).astype(y.dtype, copy=False)
    c = optional(inputs, 2)
    if c is None:
        return (y,)
    return ((y + (c if beta == 1.0 else c * beta)).astype(y.dtype, copy=False),)


def _gemm_pullback(tape: Tape) -> tuple[Array | None, ...]:
    a, b = _turned(tape.inputs, tape.attributes)
    scaled = incoming(tape) * number(tape.attributes, "alpha", 1.0)
    by_a = scaled @ b.T if tape.wants(0) else None
    by_b = a.T @ scaled if tape.wants(1) else None
    c = optional(tape.inputs, 2) if tape.wants(2) else None
    beta = number(tape.attributes, "beta", 1.0)
    return (
        by_a.T if by_a is not None and integer(tape.attributes, "transA", 0) else by_a,
        by_b.T if by_b is not None and integer(tape.attributes, "transB", 0) else by_b,
        None if c is None else unbroadcast(incoming(tape) * beta, c.shape),
    )


def _turned(inputs: Inputs, attributes: Attributes) -> tuple[Array, Array]:
    a, b = given(inputs, 0), given(inputs, 1)
    return (
        a.T if integer(attributes, "transA", 0) else a,
        b.T if integer(attributes, "transB", 0) else b,
    )


def _matmul(inputs: Inputs, _: Attributes) -> tuple[Array, ...]:
    """NumPy's product: stacks of matrices are broadcast, a vector counts as one row or column."""
    a, b = given(inputs, 0), given(inputs, 1)
    if a.ndim > 2 == b.ndim:  # one large product instead of a stack of small ones
        flat = a.reshape(-1, a.shape[-1]) @ b
        return (flat.reshape(*a.shape[:-1], b.shape[-1]),)
    return (np.matmul(a, b),)


def _matmul_pullback(tape: Tape) -> tuple[Array | None, ...]:
    a, b, gradient = given(tape.inputs, 0), given(tape.inputs, 1), incoming(tape)
    row = a[None] if a.ndim == 1 else a
    column = b[:, None] if b.ndim == 1 else b
    if a.ndim == 1:
        gradient = gradient[..., None, :] if b.ndim > 1 else gradient[None]
    if b.ndim == 1:
        gradient = gradient[..., None]
    by_a = np.matmul(gradient, np.swapaxes(column, -1, -2)) if tape.wants(0) else None
    by_b = np.matmul(np.swapaxes(row, -1, -2), gradient) if tape.wants(1) else None
    return (
        None if by_a is None else unbroadcast(by_a, row.shape).reshape(a.shape),
        None if by_b is None else unbroadcast(by_b, column.shape).reshape(b.shape),
    )


register("Gemm", _gemm, _gemm_pullback)
register("MatMul", _matmul, _matmul_pullback)
