"""Checks of chapter 2, "Rotations"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hoi_lib.exercises import exercise, require, require_close

STORED = ("columns", "rows", "stacked")


@exercise(
    "rotation_numbers",
    chapter="02",
    hint="First: draw both arrows; a keeps its direction. Second: rows in the place of columns are the transpose, and "
    "the transpose of a turn is the turn back. Third: three for where, six for each rotation.",
    wrong=[[90, 60, 99], [45, 30, 99], [45, 60, 96], [0.785, 1.047, 99]],
)
def rotation_numbers(answer: Sequence[float]) -> None:
    """How far does Gram–Schmidt turn, what does the transpose cost, and how many numbers has a hand?"""
    angle, error, count = answer
    require(abs(float(angle) - 0.785) > 0.01, "in degrees, please")
    require_close(angle, 45, "the first axis lies along (1, 1, 0)", atol=0.1)
    require(abs(float(error) - 30) > 0.1, "30° back instead of 30° forth: the error is the way between them")
    require_close(error, 60, "the error is the angle between the turn and its transpose", atol=0.1)
    require(float(count) != 96, "the translation belongs to it")
    require_close(count, 99, "count the translation and all sixteen rotations", rtol=0, atol=1e-9)


@exercise(
    "convert_layout",
    chapter="02",
    hint="Every layout leads to the matrix and back. unflatten(-1, (2, 3)) and unflatten(-1, (3, 2)) are not the same.",
    wrong=[
        lambda six, source, target: six,
        lambda six, source, target: six.unflatten(-1, (3, 2)).mT.flatten(-2) if source != target else six,
    ],
)
def convert_layout(answer: Callable) -> None:
    """Does the converter translate between columns, rows and stacked columns, for any leading axes?"""
    import torch

    from hoi_lib.rotations import axis_angle_to_matrix

    R = axis_angle_to_matrix(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(7)))
    stored = {
        "columns": R[..., :2].flatten(-2),
        "rows": R[..., :2, :].flatten(-2),
        "stacked": R[..., :2].mT.flatten(-2),
    }
    for source in STORED:
        for target in STORED:
            found = answer(stored[source], source, target)
            require(found.shape == (2, 5, 6), f"{source} to {target}: the leading axes have to stay as they are")
            require(torch.allclose(found, stored[target], atol=1e-5), f"{source} to {target} gives another order")


@exercise(
    "which_layout",
    chapter="02",
    hint="six[:, 0::2] and six[:, 1::2] are the arrows of one reading, six[:, :3] and six[:, 3:] those of the other. "
    "Which pair is of length 1 and at right angles?",
    wrong=[
        lambda six: "columns",
        lambda six: "columns" if (six[:, 0::2] * six[:, 1::2]).sum(-1).abs().max() < 1e-2 else "rows",
        lambda six: "columns" if ((six[:, 0::2] ** 2).sum(-1) - 1).abs().max() < 1e-6 else "rows",
    ],
)
def which_layout(answer: Callable) -> None:
    """Does the detector name the layout of a file, for moving hands, hands at rest, and rounded numbers?"""
    for name, six, layout in _files():
        found = answer(six)
        require(found in ("columns", "rows"), 'the answer is "columns" or "rows"')
        require(found == layout, f"{name}, stored as {layout}: it says {found}")


def _files() -> list[tuple[str, Any, str]]:
    """Files of rotations (N, 6) by description, each with the layout that it is in."""
    import torch

    from hoi_lib.rotations import axis_angle_to_matrix, matrix_to_rot6d

    generator = torch.Generator().manual_seed(8)
    files = {
        "hands in motion": axis_angle_to_matrix(torch.randn(200, 3, generator=generator)),
        "relaxed hands": axis_angle_to_matrix(0.3 * torch.randn(200, 3, generator=generator)),
        "hands at rest": torch.eye(3).expand(200, 3, 3),
    }
    return [
        (name + rounded, matrix_to_rot6d(R, layout).to(dtype).float(), layout)
        for name, R in files.items()
        for rounded, dtype in (("", torch.float32), (" in float16", torch.float16))
        for layout in ("columns", "rows")
    ]
