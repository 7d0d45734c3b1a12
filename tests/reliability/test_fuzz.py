"""A few cases of every kind of `python -m reliability fuzz`, in this process."""

import io

import numpy as np
import pytest
from PIL import Image

from jorder_preproc.errors import UserError
from reliability import fuzz, mutations, probes

CASES = {
    "image": range(30),
    "weights": range(2),
    "onnx": range(6),
    "results": range(8),
    "records": range(10),
    "sample": range(6),
    "ranges": range(3),
    "cache": range(2),
}


def test_counts_are_of_every_kind():
    assert fuzz.COUNTS.keys() == probes.PROBES.keys() == CASES.keys()
    assert fuzz.COUNTS["image"] >= 2000


@pytest.mark.parametrize("kind", CASES)
def test_undamaged_files_work(kind, tmp_path):
    """Or the damage would not be what is refused."""
    for number, files in enumerate(mutations.SEEDS[kind]()[:6]):
        case = fuzz.write_case(tmp_path / str(number), files)
        assert probes.try_case(kind, case) == ("worked", ""), files.keys()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", CASES)
def test_damaged_files_end_in_success_or_a_message(kind, tmp_path):
    seeds = mutations.SEEDS[kind]()
    for number in CASES[kind]:
        case = fuzz.write_case(tmp_path / str(number), fuzz.damaged(kind, seeds, number, seed=7))
        ending, message = probes.try_case(kind, case)
        assert ending in ("worked", "refused"), message


def test_damage_depends_on_the_number_and_the_seed_alone():
    seeds = mutations.SEEDS["records"]()
    first, same, other = (fuzz.damaged("records", seeds, 3, seed) for seed in (0, 0, 1))
    assert first == same != other
    assert first != seeds[0]


def test_damaged_png_files_have_right_checksums():
    """Decoders would go no further otherwise."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(file, "PNG")
    content = file.getvalue()
    broken = bytearray(content)
    broken[29] ^= 1  # of the checksum of the header
    assert mutations.with_checksums(bytes(broken)) == content


@pytest.mark.parametrize(
    ("error", "ending", "message"),
    [
        (UserError("too large; cut it"), "refused", "too large; cut it"),
        (UserError(""), "defect", "an error without a message"),
        (ValueError("hidden"), "defect", "ValueError: hidden"),
    ],
)
def test_tracebacks_are_defects(error, ending, message, tmp_path, monkeypatch):
    def fail(case):
        raise error

    monkeypatch.setitem(probes.PROBES, "records", fail)
    found, text = probes.try_case("records", tmp_path)
    assert found == ending and text.strip().endswith(message)


def test_hanging_and_crashing_are_defects(tmp_path, monkeypatch):
    """The cases behind go on in another process."""
    program = """
import os, sys, time
from pathlib import Path
from reliability import probes

def probe(case):
    time.sleep(60) if case.name == "0" else os.kill(os.getpid(), 11)

probes.LIMIT_S = 1
probes.PROBES["records"] = probe
probes.main("records", [Path(sys.argv[2]) / case for case in sys.argv[3:]])
"""
    monkeypatch.setattr(fuzz, "COMMAND", ("-c", program))
    for name in ("0", "1"):
        fuzz.write_case(tmp_path / name, {"a": b""})
    outcomes = fuzz.probe("records", tmp_path)
    assert {ending for ending, _ in outcomes.values()} == {"defect"}
    assert "Timeout" in outcomes["0"][1] and "status -11" in outcomes["1"][1]
