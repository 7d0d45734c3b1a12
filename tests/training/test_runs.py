"""Training runs as a user starts them, on two photographs and a few iterations."""

import hashlib
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS
from PIL import Image

from jorder_preproc.models import load_model, save_weights
from tests.networks import random_network
from training.__main__ import build_config, main, parse_args
from training.checkpoints import find_checkpoint
from training.export import export
from training.losses import joint_loss
from training.model import DerainTraining
from training.patches import RainPatches

CONFIGS = "configs/training"
SMALL = [
    "train_dataloader.dataset.stages=[(0,32,2)]",
    "train_dataloader.dataset.layers_per_preset=2",
    "default_hooks.checkpoint.interval=2",
    "default_hooks.logger.interval=1",
]
LINES = ["train_dataloader.dataset.mixture.streaks=0"]
# an interrupted run would wait for workers, which only a real Ctrl-C interrupts, too
ALONE = [*LINES, "train_dataloader.num_workers=0"]


@pytest.fixture(scope="module")
def streaks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaks")
    layer = np.zeros((60, 90), np.uint8)
    layer[:, ::9] = 180
    Image.fromarray(layer).save(folder / "1.png")
    return folder


def arguments(config, photos, work_dir, iterations, *more, options=()):
    return [
        f"{CONFIGS}/{config}.py", "--photos", str(photos), "--work-dir", str(work_dir),
        "--iterations", str(iterations), *more, "--cfg-options", *SMALL, *options,
    ]  # fmt: skip


def test_train_resume_and_export(photos, streaks, tmp_path, capsys):
    work_dir = tmp_path / "run"
    validated = ("--val-photos", str(photos), "--streaks", str(streaks))
    before = set(multiprocessing.active_children())
    assert main(arguments("jorder_e_lite", photos, work_dir, 4, *validated)) == 0
    assert (work_dir / "best.safetensors").is_file()
    assert set(multiprocessing.active_children()) <= before  # what loads data has ended, too
    (work_dir / "iter_4.pth").unlink()
    assert main(arguments("jorder_e_lite", photos, work_dir, 4, *validated, "--resume")) == 0
    assert (work_dir / "iter_4.pth").is_file()
    # the resumed run went on, it did not start again
    log = sorted(work_dir.glob("*/*.log"))[-1].read_text()
    assert "Iter(train) [3/4]" in log.replace("   ", "").replace("[ ", "[")
    assert "Iter(train) [1/4]" not in log.replace("   ", "").replace("[ ", "[")

    out = tmp_path / "out" / "jorder_e_lite.safetensors"
    scores = export(work_dir, out, str(photos), "two photographs", rains=["heavy", "dry"])
    card = out.with_suffix(".md").read_text()
    record = json.loads((work_dir / "best.json").read_text())
    assert hashlib.sha256(out.read_bytes()).hexdigest() in card
    assert f"{record['iterations']:,} iterations" in card
    assert "two photographs" in card
    by_preset = {score.rain: score for score in scores}
    assert f"| {by_preset['heavy'].input_psnr:.2f} | {by_preset['heavy'].psnr:.2f} |" in card
    # the exported network is the one validation chose
    assert by_preset["heavy"].psnr == pytest.approx(record["validation"]["psnr/heavy"], abs=0.01)
    exported = load_model("jorder_e_lite", out)
    assert exported.label_convention == "paper"
    best = load_model("jorder_e_lite", work_dir / "best.safetensors")
    for stored, value in zip(exported.parameters(), best.parameters(), strict=True):
        assert torch.equal(stored, value.half().float())
    assert out.stat().st_size < 0.55 * (work_dir / "best.safetensors").stat().st_size


def test_without_validation_the_averaged_weights_are_saved(photos, tmp_path):
    assert main(arguments("jorder_e_lite", photos, tmp_path, 4, options=LINES)) == 0
    checkpoint = torch.load(tmp_path / "iter_4.pth", weights_only=False)
    # EMAHook puts its average in the place of the weights, and these beside it
    averaged, raw = checkpoint["state_dict"], checkpoint["ema_state_dict"]
    saved = load_model("jorder_e_lite", tmp_path / "best.safetensors").state_dict()
    for name, value in saved.items():
        assert torch.equal(value, averaged[f"network.{name}"])
    assert any(
        not torch.equal(value, raw[f"module.network.{name}"]) for name, value in saved.items()
    )
    assert json.loads((tmp_path / "best.json").read_text())["validation"] == {}


def test_the_release_is_trained_on_with_the_papers_labels(photos, tmp_path):
    weights = tmp_path / "release.safetensors"
    save_weights(random_network("jorder_e_practical", "release"), weights)
    run, practical = tmp_path / "run", ["model.name=jorder_e_practical", *LINES]
    more = ("--weights", str(weights))
    assert main(arguments("jorder_e_lite", photos, run, 2, *more, options=practical)) == 0
    trained = load_model("jorder_e_practical", run / "best.safetensors")
    assert trained.label_convention == "paper" and trained.gated


@pytest.mark.parametrize("given", [False, True])
def test_fine_tuning_begins_with_the_shipped_weights_or_others(photos, tmp_path, given):
    """With a learning rate of 0 it ends with them, too."""
    start = Path("jorder_preproc/weights/jorder_e_lite.safetensors")
    if given:
        start = tmp_path / "others.safetensors"
        save_weights(random_network("jorder_e_lite"), start)
    more = ("--weights", str(start)) if given else ()
    still = [*ALONE, "optim_wrapper.optimizer.lr=0"]
    run = arguments("jorder_e_lite_finetune", photos, tmp_path / "run", 2, *more, options=still)
    assert main(run) == 0
    expected = load_model("jorder_e_lite", start).state_dict()
    tuned = load_model("jorder_e_lite", tmp_path / "run" / "best.safetensors").state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(tuned[name], value, rtol=0, atol=1e-6)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(photos, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert main(arguments("jorder_e_lite", photos, whole, 4, options=LINES)) == 0
    resumed.mkdir()
    shutil.copy(whole / "iter_2.pth", resumed)
    (resumed / "last_checkpoint").write_text(str(resumed / "iter_2.pth"))
    assert main(arguments("jorder_e_lite", photos, resumed, 4, "--resume", options=LINES)) == 0
    expected, actual = (
        torch.load(folder / "iter_4.pth", weights_only=False) for folder in (whole, resumed)
    )
    for state in ("state_dict", "ema_state_dict"):  # averaged and last weights
        torch.testing.assert_close(actual[state], expected[state], rtol=0, atol=1e-7)


def test_a_run_is_not_mixed_with_another(photos, tmp_path, capsys):
    assert main(arguments("jorder_e_lite", photos, tmp_path, 2, options=LINES)) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    capsys.readouterr()
    assert main(arguments("jorder_e_lite", photos, tmp_path, 2, options=LINES)) == 2
    assert f"{tmp_path} has a run: go on with it by --resume, or" in capsys.readouterr().err
    # the schedules of a checkpoint are those of its run's length
    assert main(arguments("jorder_e_lite", photos, tmp_path, 4, "--resume", options=LINES)) == 2
    assert "is of 2 iterations, whose schedules are in its checkpoint" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}


def test_the_network_knows_the_share_of_dry_patches(photos, tmp_path):
    options = (*LINES, "train_dataloader.dataset.dry=0.25")
    run = arguments("jorder_e_lite", photos, tmp_path / "run", 2, options=options)
    assert build_config(parse_args(run)).model.dry == 0.25


def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(photos, tmp_path, monkeypatch):
    """Also when its patches have grown before and after the interruption."""
    seen = []
    whole = DerainTraining.forward

    def watch(self, mode="tensor", **batch):
        seen.append(batch["rainy"])
        return whole(self, mode, **batch)

    monkeypatch.setattr(DerainTraining, "forward", watch)
    options = [
        *LINES,
        "train_dataloader.dataset.stages=[(0,24,3),(1,32,2),(3,40,1)]",
    ]

    def train(*more):
        parts = arguments("jorder_e_lite", photos, tmp_path, 4, *more, options=options)
        assert main(parts) == 0

    train()
    expected = list(seen)
    assert [tuple(batch.shape) for batch in seen] == [
        (3, 3, 24, 24), (2, 3, 32, 32), (2, 3, 32, 32), (1, 3, 40, 40),
    ]  # fmt: skip
    seen.clear()
    (tmp_path / "iter_4.pth").unlink()
    train("--resume")
    for one, other in zip(expected[2:], seen, strict=True):
        assert torch.equal(one, other)


def test_the_papers_config_trains(photos, tmp_path):
    small = ["model.name=jorder_e_practical", "custom_hooks=[]"]
    assert main(arguments("jorder_e_paper", photos, tmp_path, 2, options=small)) == 0


def test_the_loss_falls(photos):
    """A few steps on one batch must take away a good part of the streaks."""
    torch.manual_seed(0)
    batch = RainPatches(str(photos), [(0, 32, 4)], {"heavy": 1.0}, 4)[0, 0, 0]
    model = DerainTraining("jorder_e_lite")
    recipe = Config.fromfile(f"{CONFIGS}/jorder_e_lite.py").optim_wrapper.optimizer
    optimizer = OPTIMIZERS.build({**recipe, "params": model.parameters()})
    losses = []
    for _ in range(60):
        terms = model(mode="loss", **batch)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        losses.append(terms["loss_background"].item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("config", ["jorder_e_lite", "jorder_e_lite_finetune"])
def test_schedules_shrink_with_the_run(photos, tmp_path, config):
    full, half = (
        build_config(parse_args(arguments(config, photos, tmp_path, iterations, options=LINES)))
        for iterations in (24_000, 12_000)
    )
    for part, whole in zip(half.param_scheduler, full.param_scheduler, strict=True):
        for key in ("begin", "end", "T_max"):
            assert part.get(key, 0) == pytest.approx(whole.get(key, 0) / 2, abs=1)
    averages = [run.custom_hooks[-1] for run in (half, full)]
    assert averages[0].type == "EMAHook" and averages[0].momentum == 2 * averages[1].momentum
    assert half.model.feature_from == full.model.feature_from / 2


def test_stages_shrink_with_the_run(photos, streaks, tmp_path):
    given = [f"{CONFIGS}/jorder_e_lite.py", "--photos", str(photos), "--streaks", str(streaks)]
    full = build_config(parse_args(given))
    half = build_config(parse_args([*given, "--iterations", str(full.iterations // 2)]))
    stages = full.train_dataloader.dataset.stages
    assert [list(stage) for stage in half.train_dataloader.dataset.stages] == [
        [first // 2, patch, count] for first, patch, count in stages
    ]


def test_the_shortest_run_warms_up(photos, tmp_path):
    config = build_config(
        parse_args(arguments("jorder_e_lite", photos, tmp_path, 3, options=LINES))
    )
    warm_up, decay = config.param_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedulers = [
        PARAM_SCHEDULERS.build({**part, "optimizer": optimizer}) for part in (warm_up, decay)
    ]
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(0.01) and max(rates) > 0.5


def test_coarse_to_fine_adds_the_sub_networks(photos):
    torch.manual_seed(0)
    whole = DerainTraining("jorder_e_practical")
    network = whole.network
    torch.nn.init.normal_(network.stages[0].heads.residual[1].weight, std=0.05)
    both = DerainTraining("jorder_e_practical", coarse_to_fine=True)
    both.network = network
    batch = {
        "rainy": torch.rand(1, 3, 16, 16),
        "background": torch.rand(1, 3, 16, 16),
        "streak_map": torch.rand(1, 3, 16, 16),
        "region": torch.ones(1, 16, 16, dtype=torch.long),
    }
    expected = sum(
        joint_loss(network(batch["rainy"], paths), batch)["loss_background"]
        for paths in (None, 1, 2)
    )
    actual = both(mode="loss", **batch)["loss_background"]
    torch.testing.assert_close(actual, expected)


def test_mistakes_are_named(photos, tmp_path, capsys):
    with pytest.raises(ValueError, match="blocks with several paths; jorder_e_lite has one"):
        DerainTraining("jorder_e_lite", coarse_to_fine=True)
    assert main([f"{CONFIGS}/jorder_e_lite.py", "--photos", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(arguments("jorder_e_lite", photos, tmp_path / "new", 2)) == 2
    assert (
        "the mixture has 0.35 of streaks: give --streaks DIR, or do without"
        in capsys.readouterr().err
    )
    veil = ("--streaks", str(photos))
    assert main(arguments("jorder_deveil_lite", photos, tmp_path / "new", 2, *veil)) == 2
    assert "does not train on rain" in capsys.readouterr().err
    assert main(arguments("jorder_e_paper", photos, tmp_path / "new", 2, *veil)) == 2
    assert "jorder_e_paper.py has none; leave --streaks out" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"dry must be in \[0, 1\), got 1.0"):
        DerainTraining("jorder_e_lite", dry=1.0)
    resume = arguments("jorder_e_lite", photos, tmp_path / "new", 2, "--resume", options=LINES)
    assert main(resume) == 2
    assert "no checkpoint in" in capsys.readouterr().err
    features = [*LINES, "model.feature_weights=none.pth"]
    assert main(arguments("jorder_e_lite", photos, tmp_path / "new", 2, options=features)) == 2
    assert "model.feature_weights: there is no file none.pth" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds no best.safetensors"):
        export(tmp_path, tmp_path / "x.safetensors", str(photos), "")


@pytest.mark.parametrize("named", ["iter_2.pth", "", "iter_1.pth", None])
def test_the_last_whole_checkpoint_is_found(tmp_path, named):
    """Also after a kill while its name was written, or before the next had its name written."""
    assert find_checkpoint(tmp_path) is None
    for number in (2, 10):
        (tmp_path / f"iter_{number}.pth").touch()
    if named is not None:
        (tmp_path / "last_checkpoint").write_text(str(tmp_path / named) if named else "")
    expected = "iter_2.pth" if named == "iter_2.pth" else "iter_10.pth"
    assert find_checkpoint(tmp_path) == str(tmp_path / expected)


def test_checkpoints_are_written_whole(photos, tmp_path, monkeypatch):
    """A run that is killed while it writes one leaves none that is cut."""
    write = Path.write_bytes

    def stop_half_way(path, content):
        write(path, content[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", stop_half_way)
    assert main(arguments("jorder_e_lite", photos, tmp_path, 2, options=ALONE)) == 130
    assert not list(tmp_path.glob("*.pth"))


def test_an_interrupted_run_says_how_to_go_on(photos, tmp_path, monkeypatch, capsys):
    forward, calls = DerainTraining.forward, []

    def interrupt(self, mode="tensor", **batch):
        calls.append(mode)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(self, mode, **batch)

    monkeypatch.setattr(DerainTraining, "forward", interrupt)
    assert main(arguments("jorder_e_lite", photos, tmp_path, 6, options=ALONE)) == 130
    said = capsys.readouterr().err
    assert "interrupted: the same command with --resume goes on from the last" in said
    assert find_checkpoint(tmp_path) == str(tmp_path / "iter_2.pth")
    calls[:] = [None] * 3
    assert main(arguments("jorder_e_lite", photos, tmp_path / "new", 6, options=ALONE)) == 130
    assert "interrupted: before the first checkpoint; begin again" in capsys.readouterr().err


def test_a_resumed_run_validates_what_an_interrupted_one_did_not(photos, tmp_path, monkeypatch):
    forward = DerainTraining.forward

    def interrupt(self, mode="tensor", **batch):
        if mode == "predict":
            raise KeyboardInterrupt
        return forward(self, mode, **batch)

    validated = ("--val-photos", str(photos))
    with monkeypatch.context() as patch:
        patch.setattr(DerainTraining, "forward", interrupt)
        assert (
            main(arguments("jorder_e_lite", photos, tmp_path, 2, *validated, options=ALONE)) == 130
        )
    assert find_checkpoint(tmp_path) == str(tmp_path / "iter_2.pth")
    assert not (tmp_path / "best.safetensors").exists()
    again = arguments("jorder_e_lite", photos, tmp_path, 2, *validated, "--resume", options=ALONE)
    assert main(again) == 0
    record = json.loads((tmp_path / "best.json").read_text())
    assert record["iterations"] == 2 and record["validation"]["psnr/mean"] > 0
    load_model("jorder_e_lite", tmp_path / "best.safetensors")


def test_a_run_stops_at_a_loss_that_is_not_finite(photos, tmp_path, monkeypatch):
    losses = iter([1.0, float("nan"), 1.0])

    def forward(self, mode="tensor", **batch):
        (parameter, *_) = self.parameters()
        return {"loss": parameter.sum() * 0 + next(losses)}

    monkeypatch.setattr(DerainTraining, "forward", forward)
    with pytest.raises(FloatingPointError, match="the loss is nan in iteration 2; begin a new run"):
        main(arguments("jorder_e_lite", photos, tmp_path, 3, options=LINES))
    assert not list(tmp_path.glob("iter_*.pth"))
