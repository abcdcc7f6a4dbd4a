"""What measured cells cannot tell, in words."""

from __future__ import annotations

from device_models.fitting.cells import CellMeasurements, Programmed
from device_models.fitting.drift import DriftFit


def what_is_untold(
    data: CellMeasurements,
    first: Programmed,
    drift: DriftFit | None,
    reading: tuple[float, float] | None,
) -> tuple[str, ...]:
    """A sentence for each thing, and for what was assumed instead.

    Args:
        data: all readings.
        first: what cells held at age 0.
        drift: the fitted law; None for readings of one age.
        reading: noise of reading and its standard error; None where nothing is repeated.
    """
    said = []
    if reading is None:
        why = "no cell is named" if data.cells is None else "no cell was read twice at one age"
        said.append(
            f"{why}, so noise of reading cannot be told: it counts as error of programming, and "
            "read_noise is 0"
        )
    if drift is not None:
        said += _untold_of_drift(drift, first, named=data.cells is not None)
    elif data.cells is None:
        said.append("all readings are of one age, so drift cannot be told: there is none")
    else:
        said.append(
            "too few cells above a tenth of G_max were read at two ages, so drift cannot be told: "
            "there is none"
        )
    if data.cells is None:
        said.append("no cell is named, so every row counts as a cell of its own")
    if first.left_out:
        said.append(
            f"{first.left_out} cells were first read more than twice earlier or later than the "
            "others and say nothing of programming"
        )
    said.append("temperature is not in these data: the model knows none")
    return tuple(said)


def _untold_of_drift(drift: DriftFit, first: Programmed, *, named: bool) -> list[str]:
    said = []
    if first.without_law:
        said.append(
            f"{first.without_law} cells, most of them asked for less than a tenth of G_max, could "
            "not be taken back to programming and say nothing of it"
        )
    if not named:
        said.append(
            "no cell is named, so the exponents' deviation rests on how the spread of all grows, "
            "which few rows tell badly; a column `device` would tell it"
        )
    if not named and drift.start_from == "given" and first.age_s:
        said.append(
            "no cell is named, so all were taken back to programming by the mean exponent: what "
            "the exponents' spread had done before the first reading counts as error of programming"
        )
    if drift.start_from == "first-reading":
        said.append(
            f"what cells did in the {first.age_s:g} s before they were first read: age 0 of the "
            "model is the first reading, and t0 that time; give t0 from programming on to have "
            "them taken back to it"
        )
    return said + _untold_of_law(drift)


def _untold_of_law(drift: DriftFit) -> list[str]:
    said = []
    if not drift.is_certain:
        said.append(
            f"no drift can be told from none: exponent {drift.signed_mean:.2g}, standard error "
            f"{drift.mean_error:.2g}"
        )
    if drift.deviation > drift.mean / 2 > 0:
        said.append(
            "many exponents lie near 0, where mean and deviation are hard to tell apart: their "
            "true errors may be half as large again as the standard errors"
        )
    if drift.start_from == "fitted":
        said.append("t0 was fitted; the standard errors of the exponents hold it fixed")
    if drift.start_from == "assumed":
        said.append(
            f"two ages cannot tell where the power law starts: t0 = {drift.start_s:g} s is assumed"
        )
    if drift.slopes is not None and not drift.slopes.variances.any():
        said.append(
            "two readings of a cell cannot tell noise from drift: the deviation of nu holds both"
        )
    return said
