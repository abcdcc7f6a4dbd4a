"""What `pack` says of what it packed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.cli.budget import budget_text
from agent.cli.references import references_text
from agent.cli.table import pairs
from agent.cli.units import bytes_text, scheme_text
from agent.inspection import activation_bits_of, references_document
from agent.runtimes.names import TFLITE
from agent.runtimes.tflite_plan import FILE_NAME, decode_plan
from agent.store.package import Package
from calib.costs import network_bits_mean
from calib.graph.linear import uncorrected


def describe(package: Package, out: Path, written: int) -> dict[str, Any]:
    """What was packed."""
    network = package.network
    references = references_document(network)
    return {
        "file": str(out),
        "bytes": written,
        "model": package.model,
        "scheme": network.scheme,
        "activation_bits": activation_bits_of(network),
        "bits_mean": network_bits_mean(network),
        "rank": network.rank,
        "budget": asdict(network.budget),
        "runtime": package.runtime,
        "layers": len(network.layers),
        "classes": network.decision.classes,
        "references": references["count"],
        "held_back": references["held_back"],
        "references_as": references["form"],
        "positions": references["positions"],
        "samples_seen": references["samples"],
        "moment_rank": references["moment_rank"],
        "ranges": {
            "method": network.ranges.method,
            "output_errors": dict(network.ranges.output_errors),
        },
        "branches": _branches(package),
        "uncorrected": list(uncorrected(network.decision_graph)),
    }


def _branches(package: Package) -> dict[str, int] | None:
    """Of the runtime tflite: by layer with a branch, the rank that it has room for."""
    if package.runtime != TFLITE:
        return None
    plan = decode_plan(package.files[FILE_NAME], package.network.layers)
    return {name: layer.rank for name, layer in plan.layers.items() if layer.rank}


def table_of(result: dict[str, Any]) -> str:
    """The document for a reader."""
    ranges = result["ranges"]
    errors = ", ".join(f"{name} {error:.3g}" for name, error in ranges["output_errors"].items())
    kept = references_text(
        {
            "form": result["references_as"],
            "count": result["references"],
            "samples": result["samples_seen"],
            **{name: result[name] for name in ("held_back", "positions", "moment_rank")},
        }
    )
    return pairs(
        [
            ("bundle", f"{result['file']}, {bytes_text(result['bytes'])}"),
            ("model", f"{result['model']}, {result['layers']} linear layers"),
            ("scheme", scheme_text(result["scheme"], result["activation_bits"])),
            *_bits(result),
            ("ranges", ranges["method"]),
            ("output errors", errors),
            ("budget", budget_text(result["budget"])),
            ("references", kept),
            ("judged by", "classes" if result["classes"] else "output error"),
            *_graph_rows(result),
        ]
    )


def _bits(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What the scheme's name does not say."""
    if result["activation_bits"] is not None:
        return []
    return [("bits of a weight", f"{result['bits_mean']:.3g} on average")]


def _graph_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of some graphs only."""
    rows = []
    if result["branches"] is not None:
        rows.append(("branches", ", ".join(result["branches"]) or "none"))
    if result["uncorrected"]:
        rows.append(("not corrected", ", ".join(result["uncorrected"])))
    return rows
