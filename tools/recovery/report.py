"""The report: text, tables and picture, from the results alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill

from bench_report import machine, markdown_table

from recovery.appendix import learning_rates, longer, times
from recovery.cases import BUFFERS, CASES, CHIPS, HELD_BACK, REFERENCES, Case
from recovery.methods import Method, methods
from recovery.recipes import BATCH, SAMPLES, TEMPERATURE
from recovery.repetition import RECOVERY
from recovery.results import Results
from recovery.table import HEAD, Records, case_table, of_method, strangers

COMMAND = "NPP_DATA=DIR python tools/bench_recovery.py --results recovery.jsonl"


def write_report(results: Results, out: Path | None) -> None:
    """Print the report; write it and its picture, if a path is given."""
    records = results.read()
    text = "\n\n".join(sections(records, picture=out and out.with_suffix(".png"))) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        from recovery.picture import draw  # noqa: PLC0415 -- matplotlib may be absent

        draw(records, out.with_suffix(".png"))


def sections(records: Records, *, picture: Path | None) -> Iterator[str]:
    """The report's paragraphs and tables."""
    yield "# What repairs a deviating chip"
    yield machine(
        f"chip seeds {CHIPS.start} to {CHIPS.stop - 1}, buffers {BUFFERS.start} to "
        f"{BUFFERS.stop - 1}, packing seed 0"
    )
    yield wrapped(INTRODUCTION)
    if picture:
        yield f"![recovery of each method, by case]({picture.name})"
    every = methods()
    published = [method for method in every.values() if method.published]
    for case in CASES:
        yield from _case(records, case, published)
    yield from times(records)
    yield from longer(records)
    yield from learning_rates(records)
    yield f"Command line: `{COMMAND}`; before it with `--tune`, then `--timing` and `--report`."
    if not find_spec("torch"):
        yield "This report was written where PyTorch is not installed; rivals were run elsewhere."


INTRODUCTION = f"""\
One table a case; in each, all methods had the same chips, samples and test images. A buffer is
one choice of {REFERENCES} references and {HELD_BACK} held-back samples, from the 1,000 CIFAR-10
training images or the first 300 keyword samples; tests are on the 2,000 CIFAR-10 test images or
the last 300 keyword samples, on fewer where a table says so. *Recovery* is the corrected chip's
accuracy over the float network's on the same samples, *agreement* the share of samples with the
float network's answer, *KL* the divergence of the class probabilities from the float network's,
in nats. Figures are means over {len(CHIPS)} chips × {len(BUFFERS)} buffers; *runs* says how many
there were. The 95 % interval is that of a mean over chips (Student's t), since the buffers of one
chip are not independent. *s* is processor seconds of one calibration, one thread; *peak* the
largest resident memory of a process that does it; *bytes* what the correction takes in flash
(rivals: 16 bits a number); *operations* its multiply-accumulates as a share of the network's.

Rivals have all {REFERENCES} references, with all positions of every layer, and the labels where
their name says so. The closed forms of the first rows are fitted layer after layer, each on what
the corrected layers before it give. Those trained by Adam run in PyTorch around the chip's
effective weights, activations quantised as on the chip, gradients straight through. They start
from the closed form of scale and bias, which on chip 900 ended nearer to the float network than a
start from the chip as it is; the state with the least loss on the held-back samples is kept. Each
sees {SAMPLES:,} samples in {SAMPLES // BATCH} batches of {BATCH}, nearer in the same time than
fewer batches of 16 or 32; distillation divides logits by {TEMPERATURE:g}; learning rates were
searched on other chips, as the last table says. LoRA learns scale and bias beside A and B, so it
has the form of our own surrogates. The full fine-tune learns all weights and offsets in float, as
if each could be rewritten exactly. *QERA* is the exact form of arXiv 2410.06040, from the chip's
true weights, which no board knows; it has no gain. *Full rank* is the limit of any branch: a
whole matrix beside each layer.

Ours are calibrations by the closed loop: 64 or 16 of the references, chosen by the default rule,
are run on the chip, and the factors take the bytes of rank 8 in 16 bits unless another budget is
given. A chip whose calibration is refused stays as it was and counts so. Ours see no labels."""


def wrapped(text: str) -> str:
    """Paragraphs with lines of at most 100 characters, whatever was put into them."""
    return "\n\n".join(fill(part, 100) for part in text.split("\n\n"))


def _case(records: Records, case: Case, published: list[Method]) -> Iterator[str]:
    yield f"## {case.name}"
    if case.missing is not None:
        yield f"Left out: {case.missing}."
        return
    rows = case_table(records, case, published)
    missing: dict[str, list[str]] = {}
    for method in published:
        if not of_method(records, RECOVERY, case, method.name):
            why = method.missing(case) if not case.linear else None
            missing.setdefault(why or "not run yet", []).append(method.title)
    images = {
        int(one["images"]) for key, one in records.items() if key[:2] == (RECOVERY, case.name)
    }
    if odd := strangers(records, case):
        methods_run = sorted({str(one["method"]) for one in odd})
        yield f"**Not comparable, run again: {', '.join(methods_run)}** (another main path)."
    if rows:
        yield f"{' and '.join(f'{count:,}' for count in sorted(images))} test samples."
        yield markdown_table(HEAD, rows)
    for why, titles in missing.items():
        yield f"Not in this table: {'; '.join(titles)}: {why}."
