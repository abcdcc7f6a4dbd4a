"""The picture of `bench_energy`: operations for a joule over the rank, beside published figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from energy_grid import ADC_BITS, RANKS, ROWS, Setting
from energy_published import MF_NET_TOPS_PER_WATT

from calib.graph.linear import LinearLayer
from device_models.energy.constants import FLOAT32, INT8
from device_models.energy.estimate import PUBLISHED_TOPS_PER_WATT, Energy

COLOURS = {FLOAT32: "#c2410c", INT8: "#0f766e"}
PUBLISHED = {
    "464, arXiv 2411.05845": PUBLISHED_TOPS_PER_WATT,
    "105, MF-Net": MF_NET_TOPS_PER_WATT[0],
}
GREY = "#71717a"
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

Estimate = Callable[[Sequence[LinearLayer], Setting], Energy]


def draw(networks: Mapping[str, Sequence[LinearLayer]], energy_of: Estimate, path: Path) -> None:
    """Write a panel for each network as PNG: bands from the coarsest to the finest converter."""
    from matplotlib.figure import Figure  # noqa: PLC0415 -- the report can do without

    figure = Figure(figsize=(9, 4.2), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    places = range(len(RANKS))
    for axes, (name, layers) in zip(panels, networks.items(), strict=True):
        for arithmetic, colour in COLOURS.items():
            for rows, alpha in ((ROWS[-1], 0.35), (ROWS[0], 0.15)):
                low, high = (
                    [
                        energy_of(layers, Setting(rows, bits, 8, 8, rank, arithmetic)).tops_per_watt
                        for rank in RANKS
                    ]
                    for bits in (ADC_BITS[-1], ADC_BITS[0])
                )
                label = f"{arithmetic} surrogates, {rows} rows; converters of 8 to 4 bits, upwards"
                axes.fill_between(places, low, high, color=colour, alpha=alpha, label=label)
        for label, figure_of in PUBLISHED.items():
            axes.axhline(figure_of, color=GREY, linewidth=1, linestyle="--")
            axes.text(0, figure_of * 0.93, label, color=GREY, fontsize=8, va="top")
        axes.set_yscale("log")
        axes.set_ylim(0.3, 800)
        axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axes.set_xticks(places, [str(rank) for rank in RANKS])
        axes.set_xlabel("rank in every dense layer")
        axes.set_title(name, fontsize=10)
        axes.grid(axis="y", linewidth=0.3)
    panels[0].set_ylabel("TOPS/W, estimated (logarithmic)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})
