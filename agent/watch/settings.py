"""What the watch tolerates, and how seldom it may cry wolf."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import InputError

CHARTS = ("cusum:layers", "cusum:loss", "mewma:each-layer")


@dataclass(frozen=True)
class WatchSettings:
    """The figures that thresholds are computed from; none is a threshold."""

    rounds_between_false_alarms: float = 2160.0
    """Mean number of canary rounds without a change until any of the charts alarms: 90 days of
    hourly rounds."""

    charts: tuple[str, ...] = CHARTS
    """`detector:signal`, of `agent.watch.registry`."""

    tolerated_growth: float = 0.1
    """Relative growth of a layer's error, or of the loss beyond `loss_unit`, that nobody minds."""

    loss_unit: float = 5e-4
    """A loss, as a share of what the answers say, that does not show in them."""

    error_unit: float = 1e-4
    """A relative error of a layer that is as good as none."""

    least_rounds: int = 5
    """Rounds after a calibration before anything is judged."""

    most_rounds: int = 100
    """Rounds that what is normal is learnt from, while nothing alarms; at least two a layer."""

    calm_rounds: int = 3
    """Rounds without a sign before a state is left for a better one."""

    failed_loss: float = 0.05
    """A loss above which a chip that cannot be repaired is of no use."""

    failed_refusals: int = 3
    """Refused calibrations in a row, after which a chip with such a loss counts as failed."""

    def __post_init__(self) -> None:
        """Refuse what no chart can be made of.

        Raises:
            InputError: a figure is out of its range.
        """
        for name, value, low in (
            ("rounds_between_false_alarms", self.rounds_between_false_alarms, 10),
            ("least_rounds", self.least_rounds, 3),
            ("most_rounds", self.most_rounds, self.least_rounds),
            ("calm_rounds", self.calm_rounds, 1),
            ("failed_refusals", self.failed_refusals, 1),
            ("tolerated_growth", self.tolerated_growth, 0),
        ):
            if not low <= value < float("inf"):
                raise InputError(f"watch: {name} is {value}; give a number of at least {low}")
        for name, value in (("loss_unit", self.loss_unit), ("error_unit", self.error_unit)):
            if not 0 < value < float("inf"):
                raise InputError(f"watch: {name} is {value}; give a number above 0")
        if not self.charts:
            raise InputError("watch: charts is empty; name at least one, such as cusum:layers")
