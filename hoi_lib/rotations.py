"""Rotations: axis-angle, matrix, and the six numbers the network sees.

Shapes: ``...`` any batch shape, 3 a vector, 3 3 a matrix acting on columns (``v' = R v``), 6 the first two columns of
a matrix. Everything keeps the dtype of its input and has finite gradients everywhere, at no turn and at half a turn.
Tensors give tensors; numpy arrays are taken as well and give numpy arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

LAYOUTS = ("columns", "rows")


def takes_numpy(function: Callable) -> Callable:
    """Let a function of tensors take numpy arrays too; its tensors then come back as numpy arrays."""

    @wraps(function)
    def either(*args, **kwargs):
        given = [*args, *kwargs.values()]
        if any(isinstance(x, Tensor) for x in given) or not any(isinstance(x, np.ndarray) for x in given):
            return function(*args, **kwargs)
        out = function(*map(_tensor, args), **{name: _tensor(x) for name, x in kwargs.items()})
        return out.numpy() if isinstance(out, Tensor) else out

    return either


def _tensor(x: object) -> object:
    return torch.from_numpy(x) if isinstance(x, np.ndarray) else x


@takes_numpy
def axis_angle_to_matrix(x: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """Rodrigues' formula: a turn by ``|x|`` radians about ``x``.

    ``R = I + a [x] + b [x]²`` with ``a = sin θ / θ`` and ``b = (1 − cos θ) / θ²``, both from their series near 0.
    """
    theta2 = (x * x).sum(-1)[..., None, None]
    small = theta2 < 1e-4  # below it the first dropped term of the series is under 1e-17
    safe = torch.where(small, torch.ones_like(theta2), theta2)
    theta = safe.sqrt()
    a = torch.where(small, 1 - theta2 / 6 + theta2**2 / 120 - theta2**3 / 5040, theta.sin() / theta)
    b = torch.where(small, 0.5 - theta2 / 24 + theta2**2 / 720, 2 * (theta / 2).sin() ** 2 / safe)
    k = cross_matrix(x)
    return torch.eye(3, dtype=x.dtype, device=x.device) + a * k + b * (k @ k)


@takes_numpy
def cross_matrix(x: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """The matrix ``[x]`` with ``[x] v = x × v``."""
    zero = torch.zeros_like(x[..., 0])
    x0, x1, x2 = x.unbind(-1)
    return torch.stack([zero, -x2, x1, x2, zero, -x0, -x1, x0, zero], -1).unflatten(-1, (3, 3))


@takes_numpy
def matrix_to_quaternion(R: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 4"]:
    """Unit quaternion (w, x, y, z) with w ≥ 0, by the largest of its four squared parts, so never a small divisor."""
    m = R.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    # row i holds 4 q_i · (w, x, y, z); the row with the largest diagonal is the safe one to normalise
    rows = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12], -1),
            torch.stack([m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22], -1),
        ],
        -2,
    )
    best = torch.diagonal(rows, dim1=-2, dim2=-1).argmax(-1)
    q = normalize(rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2), dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


@takes_numpy
def matrix_to_axis_angle(R: Float[Tensor, "... 3 3"]) -> Float[Tensor, "... 3"]:
    """Inverse of :func:`axis_angle_to_matrix`, with the angle in [0, π].

    At half a turn both axes are right and either may come back.
    """
    w, v = matrix_to_quaternion(R).split([1, 3], -1)
    sine2 = (v * v).sum(-1, keepdim=True)
    small = sine2 < 1e-10  # there θ / sin(θ/2) is 2 to rounding, and the square root has no gradient
    sine = torch.where(small, torch.ones_like(sine2), sine2).sqrt()
    scale = torch.where(small, 2 + sine2 / 3, 2 * torch.atan2(sine, w) / sine)
    return v * scale


@takes_numpy
def rot6d_to_matrix(x: Float[Tensor, "... 6"], layout: str = "columns") -> Float[Tensor, "... 3 3"]:
    """Gram–Schmidt on the two stored vectors; the third is their cross product.

    ``layout="columns"`` reads ``[r00, r01, r10, r11, r20, r21]`` (the first two columns, row by row: the library's
    own and Text2HOI's); ``"rows"`` reads the first two rows, as PyTorch3D and TaMF store them. The result is a rotation
    whatever the numbers: where a vector is zero or the two are parallel, what is missing is chosen and has no gradient.
    """
    if layout == "rows":
        return _gram_schmidt(x[..., :3], x[..., 3:]).transpose(-1, -2)
    _check_layout(layout)
    pair = x.unflatten(-1, (3, 2))
    return _gram_schmidt(pair[..., 0], pair[..., 1])


@takes_numpy
def matrix_to_rot6d(R: Float[Tensor, "... 3 3"], layout: str = "columns") -> Float[Tensor, "... 6"]:
    """The six numbers of a rotation matrix, in the layouts of :func:`rot6d_to_matrix`."""
    if layout == "rows":
        return R[..., :2, :].flatten(-2)
    _check_layout(layout)
    return R[..., :, :2].flatten(-2)


@takes_numpy
def slerp(
    start: Float[Tensor, "... 3 3"], end: Float[Tensor, "... 3 3"], t: Float[Tensor, "..."]
) -> Float[Tensor, "... 3 3"]:
    """The rotation a share ``t`` of the way from ``start`` to ``end``, along the shortest turn."""
    turn = matrix_to_axis_angle(start.transpose(-1, -2) @ end)
    return start @ axis_angle_to_matrix(turn * t[..., None])


@takes_numpy
def geodesic_angle(a: Float[Tensor, "... 3 3"], b: Float[Tensor, "... 3 3"]) -> Float[Tensor, "..."]:
    """Angle in radians of the turn that takes ``a`` to ``b``; exact near 0 and near π."""
    q = matrix_to_quaternion(a.transpose(-1, -2) @ b)
    return 2 * torch.atan2(q[..., 1:].norm(dim=-1), q[..., 0])


@takes_numpy
def is_rotation(R: Float[Tensor, "... 3 3"], tolerance: float = 1e-3) -> bool:
    """True if every matrix is orthonormal with determinant +1 within ``tolerance``."""
    eye = torch.eye(3, dtype=R.dtype, device=R.device)
    orthonormal = (R @ R.transpose(-1, -2) - eye).abs().amax() < tolerance if R.numel() else True
    return bool(orthonormal) and bool((torch.linalg.det(R) > 0).all())


def _gram_schmidt(a: Float[Tensor, "... 3"], b: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    axes = torch.eye(3, dtype=a.dtype, device=a.device)
    x = _direction(a, 1e-8, otherwise=axes[0].expand_as(a))
    farthest = axes[x.detach().abs().argmin(-1)]
    spare = normalize(_across(farthest, x.detach()), dim=-1)
    rounding = torch.finfo(a.dtype).eps ** 0.5 * b.detach().norm(dim=-1, keepdim=True)
    y = _direction(_across(b, x), rounding + 1e-8, otherwise=spare)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def _across(b: Float[Tensor, "... 3"], x: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """What is left of ``b`` when its part along the unit vector ``x`` is taken away."""
    return b - (x * b).sum(-1, keepdim=True) * x


def _direction(v: Float[Tensor, "... 3"], shortest: Tensor | float, otherwise: Tensor) -> Float[Tensor, "... 3"]:
    """``v`` at unit length, or ``otherwise`` where it is not longer than ``shortest``."""
    length = v.norm(dim=-1, keepdim=True)
    usable = ~(length <= shortest)  # so that a NaN stays one
    return torch.where(usable, v / torch.where(usable, length, torch.ones_like(length)), otherwise)


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: expected one of {LAYOUTS}")
