"""Exercises that answer back: one check per exercise, kind while unsolved, exact when wrong.

A notebook cell ends in ``check("name", answer)``. The verdict is one of three: *right*, *not answered yet* (the answer
is still ``...`` or ``None``), or *not yet*, followed by the first property that failed. ``strict=True`` or
``HOI_STRICT=1`` turns every verdict but *right* into an :class:`ExerciseError`: solution cells and markers use it.

The checks of a chapter live in a file of its own (``ch01.py``, …) and register themselves::

    @exercise("frame_numbers", chapter="02", hint="Three for where, six for each of the sixteen rotations.", wrong=[96])
    def frame_numbers(answer):
        \"\"\"How many numbers describe one hand in one frame?\"\"\"
        require(answer == 99, "count the translation and all sixteen rotations")
"""

from __future__ import annotations

import importlib
import math
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from html import escape
from typing import Any

from hoi_lib.claims import softened
from hoi_lib.errors import ConfigError

RIGHT, UNANSWERED, WRONG = "right", "not answered yet", "not yet"


class ExerciseError(AssertionError):
    """An answer that had to be right (``strict``) and was not."""


class Unanswered(Exception):
    """Raised inside a check when a function of the reader returns nothing yet."""


class PropertyFailed(Exception):
    """Raised by :func:`require` inside a check; the message names the property that failed."""


@dataclass(frozen=True)
class Exercise:
    """One registered exercise: its question, check, hint and answers that the check must refuse.

    ``question`` is one sentence (the check's docstring). ``label`` is how the book refers to it: the exercise stands
    under that label and its solution under ``solution-label``.
    """

    name: str
    chapter: str
    question: str
    check: Callable[[Any], None]
    hint: str
    wrong: tuple

    @property
    def label(self) -> str:
        """The label of the exercise in the book, ``ex-<name>`` with hyphens."""
        return "ex-" + self.name.replace("_", "-")


@dataclass(frozen=True, repr=False)
class Verdict:
    """The outcome of one check; ``status`` is "right", "not answered yet" or "not yet", ``message`` says why."""

    exercise: Exercise
    status: str
    message: str = ""

    @property
    def ok(self) -> bool:
        """True when the answer is right."""
        return self.status == RIGHT

    def __repr__(self) -> str:
        return f"{self.exercise.name}: {self.status}" + (f": {self.message}" if self.message else ".")

    def _repr_html_(self) -> str:
        mark, colour = {RIGHT: ("✓", "#009E73"), UNANSWERED: ("○", "#888888"), WRONG: ("✗", "#D55E00")}[self.status]
        said = f"<b>{mark} {escape(self.status)}</b>" + (f": {escape(self.message)}" if self.message else "")
        hint = "" if self.ok else f"<details><summary>Hint</summary>{escape(self.exercise.hint)}</details>"
        style = f"border-left: 4px solid {colour}; padding: 0.3em 0.9em; margin: 0.4em 0"
        return f'<div class="hoi-verdict" role="status" style="{style}">{said}{hint}</div>'


_REGISTRY: dict[str, Exercise] = {}


def exercise(name: str, *, chapter: str, hint: str, wrong: Sequence = ()) -> Callable:
    """Register the decorated check under ``name``.

    The check takes the answer and returns nothing when it is right; it calls :func:`require` for each property, the
    most helpful first. ``chapter`` is its two digits, ``hint`` one or two sentences that help without giving the
    answer away, ``wrong`` at least one typical wrong answer that the tests feed to the check.
    """

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        question = (function.__doc__ or "").strip().split("\n\n")[0]
        known = _REGISTRY.get(name)
        if known is not None and known.chapter != chapter:
            raise ValueError(f"two exercises are called {name!r}, in chapters {known.chapter} and {chapter}")
        _REGISTRY[name] = Exercise(name, chapter, " ".join(question.split()), function, hint, tuple(wrong))
        return function

    return register


@cache
def registry() -> dict[str, Exercise]:
    """Every exercise of the book by name; imports the chapters' files."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_REGISTRY.items(), key=lambda item: item[1].chapter))


def require(condition: Any, otherwise: str) -> None:
    """Inside a check: go on if ``condition`` holds, else stop with the words in ``otherwise``."""
    if not condition:
        raise PropertyFailed(otherwise)


def require_close(answer: Any, expected: float, otherwise: str, rtol: float = 1e-2, atol: float = 0.0) -> None:
    """Inside a check: a finite number within ``rtol`` (relative) or ``atol`` of ``expected``."""
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise PropertyFailed(f"a number is expected, and this is of type {type(answer).__name__}") from None
    require(math.isfinite(value), "the number has to be finite")
    require(math.isclose(value, expected, rel_tol=rtol, abs_tol=atol), otherwise)


def grade(name: str, answer: Any) -> Verdict:
    """Judge ``answer`` and return the :class:`Verdict` without showing it.

    ``...`` and ``None``, alone or as a member of a list, tuple or dict, count as not answered, and so does a function
    that returns one of them or raises ``NotImplementedError``.
    """
    task = find(name)
    if _is_open(answer):
        return Verdict(task, UNANSWERED)
    try:
        task.check(_watched(answer))
    except (Unanswered, NotImplementedError):
        return Verdict(task, UNANSWERED)
    except PropertyFailed as failed:
        return Verdict(task, WRONG, str(failed))
    except Exception as error:  # the reader's own code broke: say how, never with a traceback of ours
        return Verdict(task, WRONG, f"it stopped with {type(error).__name__}: {error}")
    return Verdict(task, RIGHT)


def check(name: str, answer: Any = None, strict: bool | None = None) -> None:
    """Judge ``answer`` and show the verdict; with ``strict`` (default: ``HOI_STRICT=1``) raise unless it is right.

    In a reader's own session a solution never raises: a changed chapter may have another answer.
    """
    verdict = grade(name, answer)
    if strict is None:
        strict = os.environ.get("HOI_STRICT", "0") not in ("", "0")
    if strict and not verdict.ok and not softened():
        raise ExerciseError(str(verdict))
    _show(verdict)


def hint(name: str) -> str:
    """The hint of an exercise."""
    return find(name).hint


def find(name: str) -> Exercise:
    """The exercise called ``name``; raises :class:`ConfigError` with the nearest names otherwise."""
    from difflib import get_close_matches

    if name in registry():
        return registry()[name]
    near = ", ".join(get_close_matches(name, registry())) or "hoi_lib.exercises.registry() lists them all"
    raise ConfigError(f"no exercise is called {name!r}.", f"Near it: {near}.", "chapter 0, “Exercises”")


def _is_open(answer: Any) -> bool:
    if answer is None or answer is ...:
        return True
    if isinstance(answer, dict):
        return any(_is_open(a) for a in answer.values())
    return isinstance(answer, (list, tuple)) and any(_is_open(a) for a in answer)


def _watched(answer: Any) -> Any:
    """A function that raises :class:`Unanswered` when the reader's function returns nothing; anything else as it is."""
    if isinstance(answer, type) or not callable(answer) or hasattr(answer, "parameters"):
        return answer

    @wraps(answer)
    def watched(*args: Any, **kwargs: Any) -> Any:
        result = answer(*args, **kwargs)
        if _is_open(result):
            raise Unanswered
        return result

    return watched


def _show(verdict: Verdict) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = None
    if get_ipython is not None and get_ipython() is not None:
        display(verdict)
    else:
        print(verdict)
