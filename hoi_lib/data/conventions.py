"""Which convention was missed? A verdict on every classic mistake in reading a recorded set, from the clips alone.

A mistake shows in one of two ways. Some show by themselves (:mod:`hoi_lib.data.symptoms`): paths of hundreds of metres,
an object that drifts before anybody touches it. The others are undone on a sample of clips to see whether hands and
objects then meet (:mod:`hoi_lib.data.trials`). Where the clips do not decide, the verdict is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hoi_lib.data import symptoms, trials
from hoi_lib.data.probe import CLIPS, Excerpt, choose
from hoi_lib.data.store import ClipStore
from hoi_lib.data.symptoms import CLEAR, FOUND, UNKNOWN, Finding
from hoi_lib.data.trials import TRIALS, Outcome, Trial

__all__ = ["CLEAR", "FOUND", "UNKNOWN", "Finding", "detect", "examine"]


def detect(store: ClipStore, clips: int = CLIPS) -> list[Finding]:
    """The mistakes that a store shows, each with its evidence and one sentence; an empty list for a sound one."""
    return [finding for finding in examine(store, clips) if finding.state == FOUND]


def examine(store: ClipStore, clips: int = CLIPS) -> list[Finding]:
    """A verdict on every mistake known here, "found", "clear" or "cannot tell", from up to ``clips`` clips of a store.

    A mistake that is found is undone before the next is looked for, so that one mistake is not taken for several.
    """
    excerpts = choose(store, clips)
    if not excerpts:
        return []
    long, excerpts = symptoms.lengths(excerpts)
    wide, excerpts = symptoms.degrees(excerpts)
    rows, wild = symptoms.scrambled(excerpts)
    findings = [long, wide, symptoms.flags(store), symptoms.shapes(store)]
    judged, excerpts = _try_all(excerpts, unreadable=FOUND in (rows.state, wild.state))
    if any(f.state == FOUND and f.name == "sides swapped" for f in judged) and wild.state == FOUND:
        wild = Finding(wild.name, wild.evidence, wild.sentence, CLEAR)  # the wrong hand bends backwards
    findings += [rows, wild, *judged]
    drift, step = symptoms.adrift(excerpts), symptoms.out_of_step(excerpts)
    if drift.state == FOUND and step.state == FOUND:  # a moving camera makes every object move, also before it is held
        step = replace(step, state=UNKNOWN)
    findings += [step, drift, symptoms.pace(excerpts)]
    explained = any(f.state == FOUND for f in findings)
    findings.append(symptoms.wrist_left(excerpts, explained))
    return [*findings, symptoms.apart(excerpts, explained or findings[-1].state == FOUND)]


def _try_all(excerpts: Sequence[Excerpt], unreadable: bool) -> tuple[list[Finding], list[Excerpt]]:
    """Findings of all trials, and the excerpts with the mistakes that were found undone.

    The mistake whose undoing brings most is taken first; the others are then tried again without it.
    """
    excerpts, done = list(excerpts), {}
    pending = list(TRIALS)
    outcomes = {t.name: trials.hold(t, excerpts) for t in pending}
    turns, words = symptoms.turning(excerpts)
    while best := _best(pending, outcomes):
        done[best.name] = outcomes[best.name]
        pending.remove(best)
        excerpts = [_mended(best, e) for e in excerpts]
        outcomes = {t.name: trials.hold(t, excerpts) for t in pending}
        if len(done) == 2:
            break
    outcomes = done | {n: o for n, o in outcomes.items() if n not in done}
    findings = [_told(t, outcomes[t.name], unreadable and t.name not in done) for t in TRIALS]
    if turns != UNKNOWN and "transposed" not in done:
        findings[0] = Finding("transposed", words, TRIALS[0].sentence, turns)
        excerpts = [_mended(TRIALS[0], e) for e in excerpts] if turns == FOUND else excerpts
    elif "transposed" in done:
        findings[0] = Finding("transposed", f"{findings[0].evidence}; {words}", TRIALS[0].sentence)
    return findings, excerpts


def _best(pending: Sequence[Trial], outcomes: dict[str, Outcome]) -> Trial | None:
    found = [t for t in pending if outcomes[t.name].verdict == FOUND]
    return max(found, key=lambda t: outcomes[t.name].gain * outcomes[t.name].clips, default=None)


def _mended(trial: Trial, excerpt: Excerpt) -> Excerpt:
    """The excerpt with the mistake of a trial undone, in all its frames."""
    pair = trial.undo(excerpt)
    if pair is None:
        return excerpt
    return replace(pair[1], frames=excerpt.frames)


def _told(trial: Trial, outcome: Outcome, unreadable: bool) -> Finding:
    state = UNKNOWN if unreadable else outcome.verdict
    return Finding(trial.name, outcome.evidence(trial.short), trial.sentence, state)
