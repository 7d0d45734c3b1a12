"""Ablations as a user starts them, on tiny networks, images and numbers of iterations."""

import itertools
import json
import statistics
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

import training.model
from jorder_preproc.metrics import luminance
from jorder_preproc.models import Jorder
from jorder_preproc.models.variants import Variant
from training.ablation import photos as built_in
from training.ablation import runs
from training.ablation.__main__ import main
from training.ablation.curves import draw_curves, mean_curves
from training.ablation.networks import NETWORKS
from training.ablation.photos import BUILT_IN
from training.ablation.runs import Settings, build_variant
from training.ablation.tables import TABLES
from training.data import RainyPhotos, list_photos
from training.model import DerainTraining

DEFAULT = Settings(BUILT_IN, BUILT_IN, "heavy", 3000, 16, 3, 48, 8)


@pytest.fixture(scope="module", autouse=True)
def few_layers():
    """Rendering the streaks would take longer than all the rest."""
    whole = runs.build_config

    def small(*arguments):
        config = whole(*arguments)
        config.train_dataloader.dataset.layers_per_preset = 2
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "build_config", small)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name, pixels in (("train", data.chelsea()), ("val", data.coffee())):
        (folder / name).mkdir()
        Image.fromarray(pixels[:60, :70]).save(folder / name / "a.png")
    return folder


def command(photos, out, table, *more, iterations=4):
    return [
        "--table", str(table), "--out", str(out), "--iterations", str(iterations),
        "--photos", str(photos / "train"), "--val-photos", str(photos / "val"),
        "--channels", "4", "--blocks", "1", "--patch", "20", "--batch-size", "2", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A folder in which every table has been made."""
    out = tmp_path_factory.mktemp("out")
    for table in TABLES:
        assert main(command(photos, out, table)) == 0
    return out


def read_table(out, number):
    return json.loads((out / f"table_{number}.json").read_text())


def forbid_training(monkeypatch):
    def fail(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(runs, "train_and_score", fail)


def interrupt_after(losses, monkeypatch):
    whole = training.model.joint_loss
    seen = []

    def count(stages, labels, **options):
        if len(seen) == losses:
            raise KeyboardInterrupt
        seen.append(labels["rainy"].clone())
        return whole(stages, labels, **options)

    monkeypatch.setattr(training.model, "joint_loss", count)
    return seen


# what is compared


@pytest.mark.parametrize(
    ("number", "names", "paper"),
    [
        (1, "SRCNN|DetailNet|JORDER-|JORDER|JORDER-R|JORDER-E",
         ("SRCNN", "Rain100H", 18.29, 0.6124)),
        (6, "RSB|PAR|SRB|RAW|RAW, as deep as RSB", ("SRB", "Rain20L", 34.28, 0.9593)),
        (7, "PAR|PARD|RSB|RSBD", ("RSBD", "Rain100H", 22.15, 0.6736)),
        (8, "w/o CDC|CDC (parallel)|CDC (sequential)",
         ("CDC (sequential)", "Rain800", 26.23, 0.8575)),
        (9, "JORDER-|JPS|JST|JORDER", ("JST", "Rain12", 35.93, 0.9589)),
        (13, "JORDER-R|RTL|CF-MSL|L1", ("RTL", "Rain100H", 24.39, 0.7992)),
    ],
)  # fmt: skip
def test_tables_hold_every_row_beside_the_papers_numbers(finished, number, names, paper):
    table = read_table(finished, number)
    assert [row["row"] for row in table["rows"]] == names.split("|")
    row, dataset, psnr, ssim = paper
    by_name = {row["row"]: row for row in table["rows"]}
    assert by_name[row]["paper"][dataset] == {"psnr": psnr, "ssim": ssim}
    assert table["settings"]["iterations"] == 4 and table["settings"]["rain"] == "heavy"
    assert table["images"] == 1
    text = (finished / f"table_{number}.md").read_text()
    assert f"{psnr:.2f} / {ssim:.4f}" in text
    assert f"| {by_name[row]['psnr']:.2f} | {by_name[row]['ssim']:.4f} |" in text
    assert f"| rainy input |  | {table['input']['psnr']:.2f} |" in text
    assert f"python -m training.ablation --table {number} " in text
    assert all(note in text for note in TABLES[number].notes)


def test_parameters_by_hand(finished):
    """4 channels, 1 block."""
    counted = {row["row"]: row["parameters"] for row in read_table(finished, 6)["rows"]}
    encoder, block, mask = 4 * (3 * 9 + 1), 2 * 4 * (4 * 9 + 1), 2 * (4 * 9 + 1)
    residual = 3 * (9 * 9 + 1)
    raw = encoder + block + 3 * (4 * 9 + 1)
    assert counted == {
        "RSB": encoder + block + mask + 3 * (6 * 9 + 1) + residual,
        "PAR": encoder + block + mask + 3 * (4 * 9 + 1) + residual,
        "SRB": encoder + block + 2 * (7 * 9 + 1) + 3 * (4 * 9 + 1) + residual,
        "RAW": raw,
        "RAW, as deep as RSB": raw,  # one block is all there is here
    }


def test_networks_are_what_the_paper_compares():
    variants = {
        name: build_variant(name, DEFAULT) for name, row in NETWORKS.items() if not row.baseline
    }
    counts = {
        name: sum(p.numel() for p in Jorder(name, variant=variant).parameters())
        for name, variant in variants.items()
    }
    assert variants["RSBD"] == Variant(channels=16, blocks=3, stages=1)
    convolution = 16 * (16 * 9 + 1)
    # three blocks of two convolutions more on two further paths
    assert counts["RSBD"] - counts["RSB"] == counts["PARD"] - counts["PAR"] == 12 * convolution
    # chained or pooled, the same convolutions
    assert counts["sequential"] == counts["JPS"] == counts["RSBD"]
    assert variants["sequential"].context_reach == 3 * (2 + 4 + 6)
    assert variants["JST"].context_reach == variants["RSBD"].context_reach == 3 * 6
    assert counts["RAW"] == 16 * (3 * 9 + 1) + 2 * convolution + 3 * (16 * 9 + 1)
    # each row of Table 13 has what the one above has, and one thing more
    losses = [NETWORKS[row.network].loss for row in TABLES[13].rows]
    assert counts["JORDER-R"] == 2 * counts["RSBD"]
    encoder_of_estimate = 2 * 16 * 3 * 9
    assert counts["RTL"] == counts["JORDER-R"] + encoder_of_estimate
    assert variants["RTL"] == variants["CF-MSL"] == variants["L1"]
    assert losses == [
        {}, {}, {"coarse_to_fine": True}, {"coarse_to_fine": True, "distance": "l1"},
    ]  # fmt: skip


# how it is compared


def test_scores_are_those_of_the_ungated_network(finished, photos):
    run = finished / "runs" / "RSB_seed0"
    variant = Variant(channels=4, blocks=1, stages=1, paths=((1, 1),))
    network = Jorder("RSB", variant=variant)
    state = torch.load(run / "iter_4.pth", weights_only=False)["state_dict"]
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items()})
    (item,) = RainyPhotos(str(photos / "val"), ["heavy"], seed=1)
    with torch.no_grad():
        (output,) = network(item["rainy"][None])
    restored = (output.background[0].clamp(0, 1) * 255).round() / 255
    expected = peak_signal_noise_ratio(
        luminance(item["background"]).numpy(), luminance(restored).numpy(), data_range=255
    )
    result = json.loads((run / "result.json").read_text())
    assert result["psnr"] == pytest.approx(expected, abs=1e-6)
    assert result["psnr"] != result["input_psnr"]


def test_rows_see_the_same_patches_and_begin_alike(photos, tmp_path, monkeypatch):
    seen = {}
    for row in ("RSB", "PAR"):
        with monkeypatch.context() as patch:
            seen[row] = interrupt_after(3, patch)
            main(command(photos, tmp_path, 6, "--rows", row, iterations=3))
    assert len(seen["RSB"]) == len(seen["PAR"]) == 3
    for one, other in zip(seen["RSB"], seen["PAR"], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(seen["RSB"][0], seen["RSB"][1])


def test_the_last_point_of_a_curve_is_the_result(finished):
    for network in ("RSB", "SRCNN"):
        run = finished / "runs" / f"{network}_seed0"
        curve = json.loads((run / "curve.json").read_text())
        assert list(curve) == ["1", "2", "3", "4"]
        result = json.loads((run / "result.json").read_text())
        assert curve["4"] == pytest.approx([result["psnr"], result["ssim"]], abs=1e-9)
        assert curve["4"] != curve["1"]


def test_curves_are_drawn_from_the_runs(finished, capsys):
    assert main(["--curves", "--out", str(finished)]) == 0
    assert capsys.readouterr().out.strip() == str(finished / "curves.png")
    means = json.loads((finished / "curves.json").read_text())
    assert set(means) == {"PAR", "PARD", "RSB", "RSBD", "SRB", "RAW"}
    assert means["RSB"] == json.loads((finished / "runs" / "RSB_seed0" / "curve.json").read_text())
    figure = draw_curves({"RSB": {1: (20.0, 0.5), 3: (22.0, 0.7)}, "SRB": {1: (19.0, 0.4)}})
    lines = [[(line.get_label(), *line.get_ydata()) for line in axes.lines] for axes in figure.axes]
    assert lines == [
        [("RSB", 20.0, 22.0)], [("RSB", 0.5, 0.7)],
        [("RSB", 20.0, 22.0), ("SRB", 19.0)], [("RSB", 0.5, 0.7), ("SRB", 0.4)],
    ]  # fmt: skip


def test_curves_are_means_over_seeds(tmp_path):
    for seed, values in enumerate(({"2": [20, 0.5], "4": [22, 0.7]}, {"2": [21, 0.6]})):
        run = tmp_path / "runs" / f"RSB_seed{seed}"
        run.mkdir(parents=True)
        (run / "curve.json").write_text(json.dumps(values))
    assert mean_curves(tmp_path) == {"RSB": {2: pytest.approx((20.5, 0.55))}}


def test_curves_without_runs(tmp_path, capsys):
    assert main(["--curves", "--out", str(tmp_path)]) == 2
    assert "has no runs of PAR, PARD, RSB, RSBD, SRB, RAW; train them" in capsys.readouterr().err


def test_an_interrupted_row_ends_as_an_uninterrupted_one(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_CHECKPOINT_EVERY", 1)
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    rows = ("--rows", "RSB", "PAR")
    assert main(command(photos, whole, 6, *rows, iterations=3)) == 0
    for losses in (2, 1 + 2):  # in the first row; at its end and in the second
        with monkeypatch.context() as patch:
            interrupt_after(losses, patch)
            assert main(command(photos, cut, 6, *rows, iterations=3)) == 130
    assert main(command(photos, cut, 6, *rows, iterations=3)) == 0
    tables = [read_table(out, 6) for out in (whole, cut)]
    for table in tables:
        for row in table["rows"]:
            row.pop("seconds_per_iteration")
        table.pop("command")
    assert tables[0] == tables[1]
    curves = [(out / "runs" / "RSB_seed0" / "curve.json").read_text() for out in (whole, cut)]
    assert curves[0] == curves[1]
    assert [row["row"] for row in tables[1]["rows"]] == ["RSB", "PAR"]


def test_finished_rows_are_not_trained_again(finished, photos, monkeypatch):
    forbid_training(monkeypatch)
    before = read_table(finished, 9)
    (finished / "table_9.json").unlink()
    assert main(command(photos, finished, 9)) == 0
    assert read_table(finished, 9) == before
    with pytest.raises(AssertionError, match="trained again"):
        main(command(photos, finished, 9, "--seeds", "2"))


def test_tables_share_networks(finished):
    """JORDER- of Table 9 is RSB of Table 6."""
    assert len(list(finished.glob("runs/*/result.json"))) == len(NETWORKS) == 21
    first, second = read_table(finished, 6)["rows"][0], read_table(finished, 9)["rows"][0]
    assert (first["row"], second["row"]) == ("RSB", "JORDER-")
    assert first["psnr"] == second["psnr"]


def test_several_seeds_give_mean_and_deviation(photos, tmp_path):
    assert main(command(photos, tmp_path, 6, "--rows", "RAW", "--seeds", "3", iterations=12)) == 0
    runs = [
        json.loads((tmp_path / "runs" / f"RAW_seed{k}" / "result.json").read_text())
        for k in range(3)
    ]
    (row,) = read_table(tmp_path, 6)["rows"]
    values = [run["psnr"] for run in runs]
    assert row["seeds"] == [0, 1, 2] and len(set(values)) == 3
    assert row["psnr"] == pytest.approx(np.mean(values))
    assert row["psnr_deviation"] == pytest.approx(np.std(values, ddof=1))
    assert f"{statistics.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" in (
        tmp_path / "table_6.md"
    ).read_text(encoding="utf-8")


# photographs and mistakes


def test_built_in_photographs_do_not_overlap(tmp_path):
    folders = [
        built_in.write_built_in_photos(tmp_path / name, images)
        for name, images in (("a", built_in.TRAIN), ("b", built_in.VAL))
    ]
    train, val = ({p.read_bytes() for p in list_photos(folder)} for folder in folders)
    assert len(train) == 4 and len(val) == 3 and not train & val
    with Image.open(tmp_path / "b" / "chelsea.png") as image:
        np.testing.assert_array_equal(np.asarray(image), data.chelsea())


def test_runs_without_photographs_of_ones_own(tmp_path):
    small = ["--channels", "1", "--blocks", "1", "--patch", "16", "--batch-size", "1"]
    arguments = ["--table", "6", "--rows", "RAW", "--out", str(tmp_path), "--iterations", "1"]
    assert main([*arguments, *small]) == 0
    assert read_table(tmp_path, 6)["images"] == 3


def test_mistakes_are_named(finished, photos, tmp_path, capsys):
    def error(*arguments):
        assert main([*arguments]) == 2
        return capsys.readouterr().err

    assert "table 6 has no row 'JPS'; choose from ['RSB'," in error(
        *command(photos, tmp_path, 6, "--rows", "JPS")
    )
    assert f"{finished} holds runs with iterations 4, not 3; give the same, or another" in error(
        *command(photos, finished, 6, iterations=3)
    )
    same = ["--photos", str(photos), "--val-photos", str(photos)]
    assert "score on photographs that were not trained on" in error(
        *command(photos, tmp_path, 6, *same)
    )
    assert "--val-photos: no folder none" in error(
        *command(photos, tmp_path, 6, "--val-photos", "none")
    )
    with pytest.raises(SystemExit):
        main(command(photos, tmp_path, 6, "--seeds", "0"))
    assert "must be at least 1, got 0" in capsys.readouterr().err


def test_a_network_that_predicts_b_alone_has_no_other_losses():
    variant = asdict(Variant(channels=4, blocks=1, stages=1, order="raw"))
    none = {"streak_weight": 0.0, "mask_weight": 0.0}
    with pytest.raises(ValueError, match="R predicts the background alone; .* got 0.01 and 0.001"):
        DerainTraining("R", variant=variant, gated=False)
    with pytest.raises(ValueError, match="R predicts the background alone; gated must be False"):
        DerainTraining("R", variant=variant, **none)
    with pytest.raises(ValueError, match="weights x are of a named network, not of R"):
        DerainTraining("R", weights="x", variant=variant)
    assert not DerainTraining("R", variant=variant, gated=False, **none).network.gated
    assert DerainTraining("jorder_e_lite").network.gated
    assert not DerainTraining("jorder_e_lite", gated=False).network.gated


def test_recurrences_differ_in_blocks_alone(finished):
    """Table 21, for Figs. 21 and 22; 4 channels."""
    table = read_table(finished, 21)
    assert [row["row"] for row in table["rows"]] == [f"K = {k}" for k in range(1, 6)]
    counts = [row["parameters"] for row in table["rows"]]
    # two stages with three paths of two convolutions
    block = 2 * 3 * 2 * 4 * (4 * 9 + 1)
    assert {second - first for first, second in itertools.pairwise(counts)} == {block}
    variants = [build_variant(f"K{k}", DEFAULT) for k in range(1, 6)]
    assert variants[2] == build_variant("L1", DEFAULT)
    assert {NETWORKS[f"K{k}"].loss == NETWORKS["L1"].loss for k in range(1, 6)} == {True}
    assert (finished / "table_21.md").read_text().startswith("# Figs. 21 and 22: ")
    assert (finished / "table_6.md").read_text().startswith("# Table 6: ")
