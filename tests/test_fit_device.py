"""`npp-agent fit-device`: a file of measurements becomes a chip that installs and ages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from agent.errors import InputError
from agent.measurements_file import MOST_BYTES, read_measurements
from agent.workstation.demo_bundle import DEMO_BUNDLE
from device_models.memories.generic import GenericMemory
from device_models.toml_file import load_device
from tests.agent_stores import npp
from tests.cell_data import Truth, measure, write_csv

Capture = pytest.CaptureFixture[str]
HEAD = "target_us,measured_us,time_s\n"


def fitted(tmp_path: Path, capsys: Capture, truth: Truth, *options: object) -> GenericMemory:
    data = measure(truth, (0.0, 10.0, 1e3, 1e5), reads=2)
    table = write_csv(tmp_path / "cells.csv", data)
    done = npp(capsys, "fit-device", table, "--out", tmp_path / "ours.toml", *options)
    assert done.code == 0, done.err
    model = load_device(tmp_path / "ours.toml")
    assert isinstance(model, GenericMemory)
    return model


def test_measured_cells_install_age_and_calibrate(tmp_path: Path, capsys: Capture) -> None:
    truth = Truth("normal", "proportional", 0.15, 0.02, 0.06, 0.02, 20.0, 0.002)
    model = fitted(tmp_path, capsys, truth)
    assert model.dependence == "proportional"
    assert model.deviation == pytest.approx(0.15, rel=0.15)
    assert model.drift_mean == pytest.approx(0.06, rel=0.1)
    store = ("--store", tmp_path / "store")
    done = npp(capsys, "install", DEMO_BUNDLE, "--chip", tmp_path / "ours.toml", *store, "--json")
    assert done.document["chip"]["name"] == "ours"
    (tmp_path / "ours.toml").unlink()  # the store keeps the description
    young = npp(capsys, "measure", "--json", *store).document["mean_relative_error"]
    old = npp(capsys, "measure", "--age-s", 1e6, "--json", *store).document["mean_relative_error"]
    assert 0 < young < old
    report = npp(capsys, "calibrate", "--json", *store).document
    assert report["accepted"]
    assert report["mean_layer_error"]["after"] < 0.5 * report["mean_layer_error"]["before"]


def test_the_file_says_where_it_comes_from(tmp_path: Path, capsys: Capture) -> None:
    fitted(tmp_path, capsys, Truth(mean=0.05))
    text = (tmp_path / "ours.toml").read_text(encoding="utf-8")
    assert text.startswith("# fitted to cells.csv: 4000 rows, 500 cells at first\n# G_max is 25 uS")
    assert "# standard errors: deviation" in text
    assert "# t0 of the power law [s]\ndrift_start_s = " in text


def test_a_name_with_a_line_break_stays_a_comment(tmp_path: Path, capsys: Capture) -> None:
    table = write_csv(tmp_path / 'x\nkind = "ideal".csv', measure(Truth()))
    assert npp(capsys, "fit-device", table, "--out", tmp_path / "o.toml").code == 0
    assert isinstance(load_device(tmp_path / "o.toml"), GenericMemory)


@pytest.mark.parametrize("times_s", [(0.0,), (25.0, 1e3, 1e5)])
def test_a_picture_is_drawn(tmp_path: Path, capsys: Capture, times_s: tuple[float, ...]) -> None:
    pytest.importorskip("matplotlib")
    table = write_csv(tmp_path / "cells.csv", measure(Truth(mean=0.05, spread=0.01), times_s))
    picture = tmp_path / "fit.png"
    said = npp(capsys, "fit-device", table, "--out", tmp_path / "o.toml", "--plot", picture)
    assert said.code == 0
    assert str(picture)[-10:] in said.out
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 20_000


def test_warnings_go_to_stderr_and_into_the_document(tmp_path: Path, capsys: Capture) -> None:
    data = measure(Truth())
    data.measured[:] += 0.05
    table = write_csv(tmp_path / "cells.csv", data)
    said = npp(capsys, "fit-device", table, "--out", tmp_path / "o.toml", "--json")
    assert said.code == 0
    assert "miss their targets" in said.err
    document = json.loads(said.out)
    assert any("miss their targets" in sentence for sentence in document["warnings"])
    assert "# warning: cells miss" in (tmp_path / "o.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "target", "measured", "time_s", "g_max_us"),
    [
        (HEAD + "10,9,3\n20,21,3\n", [0.5, 1], [0.45, 1.05], [3, 3], 20),
        (
            "target_nS;measured_uS;time_min\n5000;2,5;1\n10000;9;2",
            [0.5, 1],
            [0.25, 0.9],
            [60, 120],
            10,
        ),
        ("target_rel\tmeasured_rel\ttime_h\n0.5\t-.1\t1", [0.5], [-0.1], [3600], None),
        (
            "# a\n\nnote,time (d),Measured [\u00b5S],target ms\n\n# b\nx,1,1,0.001",
            [1],
            [1],
            [86400],
            1,
        ),
        ("\ufeff" + HEAD + '"1",2,3\r\n', [1], [2], [3], 1),
    ],
)
def test_tables_of_many_forms_are_read(
    tmp_path: Path,
    text: str,
    target: list[float],
    measured: list[float],
    time_s: list[float],
    g_max_us: float | None,
) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(text, encoding="utf-8")
    read = read_measurements(path)
    assert read.data.targets == pytest.approx(target)
    assert read.data.measured == pytest.approx(measured)
    assert read.data.time_s == pytest.approx(time_s)
    assert read.g_max_us == pytest.approx(g_max_us)
    assert read.data.cells is None


def test_cells_are_known_by_name_and_g_max_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text("device,time_s,target_us,measured_rel\na,0,1,.5\nb,0,2,.5\na,1,1,.4\n")
    read = read_measurements(path, g_max_us=4.0)
    assert read.data.cells is not None
    assert read.data.cells.tolist() == [0, 1, 0]
    assert read.data.targets.tolist() == [0.25, 0.5, 0.25]
    assert read.data.measured.tolist() == [0.5, 0.5, 0.4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; give names such as target_us"),
        ("# nothing\n\n", "is empty"),
        (HEAD, "a line of names and no rows"),
        ("1,2,3\n4,5,6\n", "line 1: no column target and no column measured and no column time"),
        ("target_us,time_s\n1,2\n", "line 1: no column measured among 'target_us', 'time_s'"),
        ("target,measured_us,time_s\n", "column 'target' has no unit; call it target_ns or"),
        ("target_us,measured_us,time\n", "column 'time' has no unit; call it time_ms or time_s"),
        ("target_us,measured_us,time_y\n", "'time_y' has the unit 'y'"),
        ("target_ohm,measured_us,time_s\n", "'target_ohm' has the unit 'ohm'"),
        ("target_us,target_ns,measured_us,time_s\n", "'target_ns' is another target"),
        ("target_us,measured_us;time_s\n", "the names stand between ',' and ';'"),
        ("target_rel,measured_us,time_s\n.5,1,0\n", "one of target and measured is relative"),
        (HEAD + "1,2,3\n1,,3\n", "line 3: measured_us is empty; fill the gap"),
        (HEAD + "# x\n1,2\n", "line 3 has 2 values and the table 3 columns"),
        (HEAD + "1,2,3,4\n", "line 2 has 4 values"),
        (HEAD + "1,abc,3\n", "line 2: measured_us is 'abc'; give a finite number"),
        (HEAD + "1,nan,3\n", "measured_us is 'nan'"),
        (HEAD + "inf,1,3\n", "target_us is 'inf'"),
        (HEAD + "1_0,1,3\n", "target_us is '1_0'"),
        (HEAD + "1,2,-3\n", "line 2: time_s is -3; give at least 0"),
        (HEAD + "-1,2,3\n", "line 2: target_us is -1; give at least 0"),
        (HEAD + "1,2,1e99\n", "line 2: a time of 1e\\+99 s; an age of at most 1e\\+09 s"),
        (HEAD + "0,2,3\n", "every target is 0"),
        (HEAD + '1,"2,3\n', "line 2 is no row of a CSV table"),
        (HEAD + "1,2,3\n" * 3, "3 rows at the first age, about 3 s; a fit takes at least 20"),
        (HEAD + "1,2,3\n" * 40, "all rows have the target 1 of G_max"),
        (HEAD + "1,1,3\n2,2,3\n" * 20, "every measured conductance equals its target"),
        ("target_rel,measured_rel,time_s\n7,1,0\n", "line 2: a target of 7 of G_max; relative"),
        (
            "target_us,measured_us,time_s,device\n1,2,3,a\n2,2,3,b\n4,2,3,a\n",
            "line 4: device 'a' has the target 4 and 1 at line 2",
        ),
        ("target_us,measured_us,time_s,device\n1,2,3,\n", "line 2: device is empty"),
    ],
)
def test_a_bad_table_is_one_sentence(
    tmp_path: Path, capsys: Capture, text: str, words: str
) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(text, encoding="utf-8")
    out, plot = tmp_path / "o.toml", tmp_path / "o.png"
    said = npp(capsys, "fit-device", path, "--out", out, "--plot", plot)
    assert said.code == 1
    assert re.search(words, said.sentence())
    assert str(path) in said.sentence()
    assert not out.exists()
    assert not plot.exists()


def test_unreadable_files_are_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"# \xb5\n")
    (tmp_path / "utf16.csv").write_bytes(HEAD.encode("utf-16"))
    (tmp_path / "huge.csv").write_bytes(b"#" * (MOST_BYTES + 1))
    (tmp_path / "binary.csv").write_bytes(bytes(range(128)) * 4)
    for name, words in (
        ("latin.csv", "latin.csv, line 2: not UTF-8"),
        ("utf16.csv", "not UTF-8"),
        ("huge.csv", "larger than"),
        ("binary.csv", "line"),
        ("absent.csv", "No such file"),
        ("", "directory"),
    ):
        said = npp(capsys, "fit-device", tmp_path / name, "--out", tmp_path / "o.toml")
        assert said.code == 1
        assert words in said.sentence()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--g-max-us", "10"], 1, "a target of 11.1111 uS is above the G_max of 10 uS"),
        (["--g-max-us", "0"], 2, "is not in the range"),
        (["--g-max-us", "nan"], 2, "not a finite number"),
        (["--drift-start-s", "-1"], 2, "is not in the range"),
        (["--plot", "x.pdf"], 2, "end its name in .png"),
        (["--out", "ours.txt"], 2, "end its name in .toml"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, capsys: Capture, options: list[str], code: int, words: str
) -> None:
    table = write_csv(tmp_path / "cells.csv", measure(Truth()))
    said = npp(capsys, "fit-device", table, "--out", tmp_path / "o.toml", *options)
    assert said.code == code
    assert words in said.err
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]


def test_measurements_are_never_overwritten(tmp_path: Path, capsys: Capture) -> None:
    table = write_csv(tmp_path / "cells.toml", measure(Truth()))
    before = table.read_bytes()
    assert npp(capsys, "fit-device", table, "--out", table).code == 2
    assert table.read_bytes() == before


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    table = write_csv(tmp_path / "cells.csv", measure(Truth()))
    said = npp(capsys, "fit-device", table, "--out", tmp_path / "no" / "o.toml")
    assert said.code == 1
    assert "the directory does not exist" in said.sentence()


def test_any_text_is_read_or_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    alphabet = [*'0123456789.,;-e \t\n"#naif_usrel\r\0', HEAD]
    for number in range(300):
        text = "".join(generator.choice(alphabet, 60))
        path = tmp_path / f"{number}.csv"
        path.write_text((HEAD if number % 2 else "") + text, encoding="utf-8")
        try:
            read = read_measurements(path)
        except InputError:
            continue
        assert np.isfinite(read.data.measured).all()
