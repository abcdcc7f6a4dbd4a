"""The watch: charts over rounds of canaries, and the state that follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.watch.normal import Normal
from agent.watch.registry import EACH_LAYER, LAYERS, Chart, chart_named
from agent.watch.rounds import CanaryRound
from agent.watch.settings import WatchSettings
from agent.watch.states import DRIFTED, FAILED, HEALTHY, UNKNOWN, WATCH, Standing, next_standing

Float64 = NDArray[np.float64]

WARNING_SHARE = 0.1
"""A warning comes ten times as often as an alarm where nothing has changed."""

CEILING = 1.25
"""Of its limit: higher no chart climbs, so that it comes down again soon after the cause."""

_NEWEST = 0.3
"""Weight of the newest round in what counts as now."""

_MOST = math.log(1e6)

NOT_KNOWN = Standing(UNKNOWN)


@dataclass(frozen=True)
class Watch:
    """What is known of a chip since its last calibration."""

    settings: WatchSettings
    layers: tuple[str, ...]
    normal: Normal
    """Of the signals: each layer's log error, their mean, the log loss."""

    memories: Mapping[str, Float64]
    """By chart."""

    anchor: Float64 | None = None
    """Mean of the signals in the first rounds; None before they are over."""

    now: Float64 | None = None
    """Mean of the signals in the latest rounds."""

    standing: Standing = NOT_KNOWN
    alarms: tuple[str, ...] = ()
    """Charts beyond their limits."""

    warnings: tuple[str, ...] = ()
    """Charts beyond a tenth of the run length."""

    saturated: tuple[str, ...] = ()
    """Layers of the latest round that do not follow their inputs."""

    refusals: int = 0
    """Calibrations refused in a row."""

    hopeless: bool = False
    """Whether the latest of them saw nothing to gain."""

    @property
    def state(self) -> str:
        """`unknown`, `healthy`, `watch`, `drifted` or `failed`."""
        return self.standing.state

    @property
    def score(self) -> float | None:
        """Mean layer error of the latest rounds over that after the calibration."""
        return None if self.growth is None else float(math.exp(self.growth[-2]))

    @property
    def loss(self) -> float | None:
        """Of the latest rounds."""
        if self.now is None:
            return None
        return max(math.exp(self.now[-1]) - self.settings.loss_unit, 0.0)

    @property
    def normal_loss(self) -> float | None:
        """Just after the calibration."""
        if self.anchor is None:
            return None
        return max(math.exp(self.anchor[-1]) - self.settings.loss_unit, 0.0)

    @property
    def growth(self) -> Float64 | None:
        """Of the signals since the calibration, as logarithms."""
        return None if self.now is None or self.anchor is None else self.now - self.anchor

    def document(self) -> dict[str, Any]:
        """What JSON holds; the settings are kept elsewhere."""
        return {
            "layers": list(self.layers),
            "normal": self.normal.document(),
            "memories": {name: memory.tolist() for name, memory in self.memories.items()},
            "anchor": None if self.anchor is None else self.anchor.tolist(),
            "now": None if self.now is None else self.now.tolist(),
            "standing": [self.standing.state, self.standing.calm],
            "alarms": list(self.alarms),
            "warnings": list(self.warnings),
            "saturated": list(self.saturated),
            "refusals": self.refusals,
            "hopeless": self.hopeless,
        }

    @classmethod
    def of(
        cls, document: Mapping[str, Any], settings: WatchSettings, layers: Iterable[str]
    ) -> Watch:
        """The inverse of `document`; what does not fit settings and layers begins anew."""
        names = tuple(layers)
        fresh = begin(settings, names)
        try:
            memories = {n: np.array(document["memories"][n], float) for n in fresh.memories}
            anchor, now = (_vector(document[name]) for name in ("anchor", "now"))
            found = cls(
                settings=settings,
                layers=tuple(document["layers"]),
                normal=Normal.of(document["normal"]),
                memories=memories,
                anchor=anchor,
                now=now,
                standing=Standing(str(document["standing"][0]), int(document["standing"][1])),
                alarms=tuple(document["alarms"]),
                warnings=tuple(document["warnings"]),
                saturated=tuple(document["saturated"]),
                refusals=int(document["refusals"]),
                hopeless=bool(document["hopeless"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            return fresh
        shapes = [found.normal.mean.shape, *(memory.shape for memory in memories.values())]
        wanted = [fresh.normal.mean.shape, *(one.shape for one in fresh.memories.values())]
        return found if found.layers == names and shapes == wanted else fresh


def begin(settings: WatchSettings, layers: Iterable[str]) -> Watch:
    """Know nothing: after a calibration that was accepted, a roll-back or an installation.

    Raises:
        InputError: the settings name a chart that cannot be.
    """
    names = tuple(layers)
    charts = [chart_named(name) for name in settings.charts]
    memories = {one.name: one.detector.start(_size(one, names)) for one in charts}
    return Watch(settings, names, Normal.unknown(len(names) + 2), memories)


def look(watch: Watch, seen: CanaryRound) -> Watch:
    """Take a round of canaries in.

    Args:
        watch: what is known.
        seen: the round, with an error for each layer of the watch.
    """
    settings, values = watch.settings, _signals(watch, seen)
    now = values if watch.now is None else watch.now + _NEWEST * (values - watch.now)
    watch = replace(watch, now=now, saturated=seen.saturated)
    if watch.normal.rounds < settings.least_rounds:
        normal = watch.normal.learn(values)
        ready = normal.rounds == settings.least_rounds
        watch = replace(watch, normal=normal, anchor=normal.mean if ready else None)
        return _judged(watch, HEALTHY if ready else UNKNOWN)
    strange = _is_strange(watch, values)
    watch = _charted(watch, watch.normal.off(values, math.log1p(settings.tolerated_growth)))
    most = max(settings.most_rounds, 2 * len(watch.layers))
    if not (watch.alarms or strange) and watch.normal.rounds < most:
        watch = replace(watch, normal=watch.normal.learn(values))
    if watch.alarms:
        return _judged(watch, DRIFTED if _is_worse(watch) else WATCH)
    return _judged(watch, WATCH if watch.warnings else HEALTHY)


def refused(watch: Watch, *, promising: bool) -> Watch:
    """Note that a calibration was refused; `promising`: its forecast saw something to gain."""
    watch = replace(watch, refusals=watch.refusals + 1, hopeless=not promising)
    return _judged(watch, watch.state)


def explain(watch: Watch) -> str:
    """The state, and what it follows from, in one sentence without a full stop."""
    if watch.state == UNKNOWN:
        rounds = f"{watch.normal.rounds} of {watch.settings.least_rounds}"
        return f"unknown: {rounds} rounds of canaries since the last calibration"
    figures = f"mean layer error {watch.score:.3g} times that after the calibration"
    if watch.state == FAILED:
        return f"failed: {_why_failed(watch)}; {figures}"
    said = watch.alarms or watch.warnings
    return f"{watch.state}: {figures}" + (f"; {', '.join(said)} beyond limit" if said else "")


def limits(settings: WatchSettings, chart: Chart, layers: int) -> tuple[float, float]:
    """Of a chart's statistic: for an alarm, and for a warning.

    All charts together alarm falsely once in the wanted number of rounds, if they are independent;
    else more seldom (Bonferroni).
    """
    size = layers if chart.signal == EACH_LAYER else 1
    wanted = settings.rounds_between_false_alarms * len(settings.charts)
    return tuple(chart.detector.limit(each, size) for each in (wanted, WARNING_SHARE * wanted))  # type: ignore[return-value]  # two of them


def _charted(watch: Watch, off: Float64) -> Watch:
    """All charts a round on, with the deviations of a round."""
    count = len(watch.layers)
    scores, joint = watch.normal.scores(off), watch.normal.joint_scores(off[:count])
    memories, alarms, warnings = {}, [], []
    for name, memory in watch.memories.items():
        chart = chart_named(name)
        alarm, warning = limits(watch.settings, chart, count)
        own = joint if chart.signal == EACH_LAYER else scores[_place(chart)]
        after = chart.detector.held(chart.detector.step(memory, own), CEILING * alarm)
        statistic = chart.detector.statistic(after)
        memories[name] = after
        alarms += [name] * (statistic > alarm)
        warnings += [name] * (statistic > warning)
    return replace(watch, memories=memories, alarms=tuple(alarms), warnings=tuple(warnings))


def _judged(watch: Watch, sign: str) -> Watch:
    """The state that follows from the latest sign and from what calibrations could not do."""
    sign = FAILED if _why_failed(watch) else sign
    standing = next_standing(watch.standing, sign, watch.settings.calm_rounds)
    return replace(watch, standing=standing)


def _why_failed(watch: Watch) -> str:
    """Why the chip is beyond repair; empty if it is not."""
    loss, settings = watch.loss, watch.settings
    if loss is None or loss <= settings.failed_loss or not watch.refusals:
        return ""
    figures = f"a loss of {loss:.2g} is above {settings.failed_loss:g}"
    if watch.saturated:
        return f"layers {', '.join(watch.saturated)} do not follow their inputs, and {figures}"
    if watch.hopeless:
        return f"nothing is to be gained by a calibration, and {figures}"
    if watch.refusals >= settings.failed_refusals:
        return f"{watch.refusals} calibrations in a row were refused, and {figures}"
    return ""


def _is_strange(watch: Watch, values: Float64) -> bool:
    """Whether a round is so far off that it must not become part of what is normal.

    Such a round comes ten times as seldom as a false alarm, so that leaving it out biases nothing;
    a step, which charts may need some rounds for, is not learnt meanwhile.
    """
    scores = watch.normal.scores(watch.normal.off(values, 0.0))
    seldom = 20 * watch.settings.rounds_between_false_alarms * len(values)
    return bool(np.abs(scores).max() > NormalDist().inv_cdf(1 - 1 / seldom))


def _is_worse(watch: Watch) -> bool:
    """Whether what has changed are larger errors, or a larger loss."""
    growth = watch.growth
    return growth is not None and bool(growth[-2] > 0 or growth[-1] > 0)


def _signals(watch: Watch, seen: CanaryRound) -> Float64:
    """Logarithms: an error that is no number is as large as errors get."""
    settings = watch.settings
    errors = np.array([_log(seen.errors[name], settings.error_unit) for name in watch.layers])
    return np.array([*errors, errors.mean(), _log(seen.loss, settings.loss_unit)])


def _log(value: float, unit: float) -> float:
    return min(math.log(value + unit), _MOST) if math.isfinite(value) else _MOST


def _place(chart: Chart) -> slice:
    return slice(-2, -1) if chart.signal == LAYERS else slice(-1, None)


def _size(chart: Chart, layers: tuple[str, ...]) -> int:
    return len(layers) if chart.signal == EACH_LAYER else 1


def _vector(listed: list[float] | None) -> Float64 | None:
    return None if listed is None else np.array(listed, float)
