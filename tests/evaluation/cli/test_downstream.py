"""`python -m evaluation classification`, as a user runs it, on a tiny model and data set."""

import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import mmengine.device.utils
import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from PIL import Image
from rich.console import Console
from sklearn.metrics import top_k_accuracy_score
from typer.testing import CliRunner

from evaluation.__main__ import app
from evaluation.cli import downstream
from evaluation.datasets.synthetic.dataset import write_dataset
from evaluation.datasets.synthetic.scenes import OBJECTS
from evaluation.downstream import protocol as run_module
from evaluation.downstream import published_scores, records
from evaluation.downstream import runner as engine
from evaluation.downstream.checkpoints import state_sha256
from evaluation.downstream.records import RecordStore
from evaluation.downstream.tasks.classification import make_subject
from evaluation.downstream.tasks.timm_model import LoadPillowImage, ResizeAndPack
from evaluation.report.schema import Derainer, Rain, from_json
from jorder_preproc import JorderDerain, SynthesizeRain
from jorder_preproc.errors import UserError
from jorder_preproc.models import save_weights
from jorder_preproc.rain import get_preset
from tests.evaluation.downstream.tiny import SIZE, classifier
from tests.networks import network_that_sees, random_deveil_network, random_network

ROOT = Path(__file__).parents[3]
MODEL = "tests.evaluation.downstream.tiny:classifier"
IMAGES = 24
# records are written after every second image, so that a run can be killed between two
FEW_AT_ONCE = """
import runpy, sys
import evaluation.downstream.records
evaluation.downstream.records._SHARD = 2
sys.argv[0] = "evaluation"
runpy.run_module("evaluation", run_name="__main__", alter_sys=True)
"""

# leaves a file for each process that scores
COUNT_SCORES = """
import os, pathlib, runpy, sys
from evaluation.metrics import SCORE
score = SCORE["classification"]
def counted(*arguments):
    (pathlib.Path(__file__).parent / f"scored-by-{os.environ['RANK']}").touch()
    return score(*arguments)
SCORE["classification"] = counted
runpy.run_module("evaluation", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    return write_dataset("classification", root, IMAGES, seed=5, scale=0.25)


def options(data: Path, out: Path, *more: str) -> list[str]:
    command = ["classification", "--data", str(data), "--model", MODEL, "--out", str(out)]
    return [*command, "--workers", "0", "--samples", "2", "--batch-size", "1", *more]


def run(data: Path, out: Path, *more: str):
    result = CliRunner().invoke(app, options(data, out, *more))
    assert result.exit_code == 0, result.output
    return from_json((out / "results.json").read_text())[0]


def table(out: Path) -> str:
    return (out / "table.csv").read_text()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """Folder of an uninterrupted run in one process."""
    out = tmp_path_factory.mktemp("whole")
    run(data, out)
    return out


def environment() -> dict[str, str]:
    # one thread, as torchrun has: several may round differently
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def rain_on(path: Path, data: Path, rain) -> Image.Image:
    """The image in the rain that goes with its name."""
    return rain(Image.open(path), image_id=path.relative_to(data).as_posix())


def check_by_hand(results, data: Path, rain, derain) -> None:
    """Scores of images that are changed by hand and shown to the model alone."""
    network = classifier()
    settings = timm.data.resolve_data_config(pretrained_cfg=network.pretrained_cfg)
    transform = timm.data.create_transform(**settings)
    changes = {
        "clean": lambda path: Image.open(path),
        "rainy": lambda path: rain_on(path, data, rain),
        "derained": lambda path: derain(rain_on(path, data, rain)),
        "clean_derained": lambda path: derain(Image.open(path)),
    }
    files = [path for name in OBJECTS for path in sorted((data / name).glob("*.JPEG"))]
    targets = [OBJECTS.index(path.parent.name) for path in files]
    for condition, change in changes.items():
        with torch.no_grad():
            images = [transform(change(path)) for path in files]
            logits = np.stack([network(image[None])[0].numpy() for image in images])
        for k in (1, 5, 10):
            expected = top_k_accuracy_score(targets, logits, k=k, labels=range(len(OBJECTS)))
            assert getattr(results.metrics[f"top-{k}"], condition) == pytest.approx(expected)


def test_nothing_is_said_of_rain_where_the_network_cannot_tell(data, tmp_path):
    weights = tmp_path / "blind.safetensors"
    save_weights(random_network("jorder_e_practical"), weights)
    derainer = ("--derainer", "jorder_e_practical", "--derainer-weights", str(weights))
    results = run(data, tmp_path / "out", "--limit", "2", *derainer)
    assert [sample.rain for sample in results.samples] == [{}, {}]
    assert "&nbsp;rain" not in (tmp_path / "out" / "report.html").read_text()


def test_scores_are_those_of_images_changed_by_hand(data, whole):
    (results,) = from_json((whole / "results.json").read_text())
    check_by_hand(results, data, SynthesizeRain("heavy", 0), JorderDerain())


@pytest.mark.parametrize(("word", "deveil"), [("on", True), ("auto", "auto")])
def test_scores_and_samples_with_deveil(data, deveil_weights, tmp_path, word, deveil):
    more = ["--preset", "storm", "--deveil", word, "--deveil-weights", deveil_weights]
    results = run(data, tmp_path, *more)
    assert results.derainer.deveil == deveil and results.derainer.deveil_weights == deveil_weights
    digest = hashlib.sha256(Path(deveil_weights).read_bytes()).hexdigest()
    assert results.deveil_sha256 == digest
    rain = SynthesizeRain("storm", 0)
    derain = JorderDerain(deveil=deveil, deveil_weights=deveil_weights)
    check_by_hand(results, data, rain, derain)
    for sample in results.samples:
        (path,) = data.rglob(sample.image)
        with Image.open(tmp_path / sample.images["derained"]) as seen:
            expected = derain(rain_on(path, data, rain))
            np.testing.assert_array_equal(np.array(seen), np.array(expected))


@pytest.mark.parametrize("where", ["pipeline", "batch"])
def test_samples_say_how_probable_rain_is(data, tmp_path, where):
    """A network that calls none of these images rainy leaves the scores as they were in rain."""
    weights = tmp_path / "sees.safetensors"
    save_weights(network_that_sees(0.97), weights)
    derainer = ("--derainer", "jorder_e_lite", "--derainer-weights", str(weights))
    left, derained = (
        run(data, tmp_path / dry, "--limit", "4", "--where", where, "--dry", dry, *derainer)
        for dry in ("leave", "derain")
    )
    assert (left.derainer.dry, derained.derainer.dry) == ("leave", "derain")
    metric, harmed = left.metrics["top-1"], derained.metrics["top-1"]
    assert (metric.derained, metric.clean_derained) == (metric.rainy, metric.clean)
    transform = JorderDerain("jorder_e_lite", weights)
    for sample in left.samples:
        assert set(sample.rain) == {"clean", "rainy"}
        shown = {
            name: np.array(Image.open(tmp_path / "leave" / file))
            for name, file in sample.images.items()
        }
        assert np.array_equal(shown["derained"], shown["rainy"])
        assert sample.rain == pytest.approx(
            {name: transform.rain_probability(shown[name]) for name in ("clean", "rainy")}, rel=1e-3
        )
    page = (tmp_path / "leave" / "report.html").read_text()
    for sample in left.samples:
        for probability in sample.rain.values():
            assert f">{probability:.2f}&nbsp;rain</small>" in page
    settings = [
        json.loads(path.read_text())["derainer"]["dry"]
        for dry in ("leave", "derain")
        for path in (tmp_path / dry).glob("records/derained*/settings.json")
    ]
    assert settings == ["leave", "derain"]
    assert "jorder_e_lite, dry too" in (tmp_path / "derain" / "report.html").read_text()
    assert [sample.rain for sample in derained.samples] == [sample.rain for sample in left.samples]
    assert harmed.rainy == metric.rainy


def test_records_are_not_shared_between_settings_of_deveil(data, deveil_weights, tmp_path):
    other, out = tmp_path / "other.safetensors", tmp_path / "out"
    network = random_deveil_network()
    with torch.no_grad():
        network.head[-1].bias += 0.1
    save_weights(network, other)
    commands = [
        [],
        ["--deveil", "on", "--deveil-weights", deveil_weights],
        ["--deveil", "auto", "--deveil-weights", deveil_weights],
        ["--deveil", "on", "--deveil-weights", str(other)],
    ]
    said, same = [], ("--preset", "storm", "--limit", "12")
    for command in commands:
        before = set(out.glob("records/*"))
        run(data, out, *same, *command)
        made = {path.name.rsplit("-", 1)[0]: path for path in set(out.glob("records/*")) - before}
        assert made.keys() >= {"derained", "clean_derained"}
        # what the derainer has no part in is done once
        assert len(made) == (2 if before else 4)
        loaded = RecordStore(made["clean_derained"]).load(list(range(0, IMAGES, 2)))
        said.append(np.stack([record["scores"] for record in loaded]))
        settings = json.loads((made["derained"] / "settings.json").read_text())["derainer"]
        assert bool(settings["deveil"]) is bool(command)
    off, on, auto, stronger = said
    for first, second in ((off, on), (off, auto), (on, stronger), (auto, stronger)):
        assert not np.array_equal(first, second)
    # and the same settings find theirs, wherever the weights lie
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(deveil_weights).read_bytes())
    before = {path: path.stat().st_mtime_ns for path in out.glob("records/*/*.npz")}
    run(data, out, *same, "--deveil", "on", "--deveil-weights", str(copy))
    assert {path: path.stat().st_mtime_ns for path in out.glob("records/*/*.npz")} == before


@pytest.mark.parametrize("changed", ["image", "function", "import", "hooks", "package", "library"])
def test_records_are_not_used_for_what_has_changed_since(data, tmp_path, monkeypatch, changed):
    """The names stay the same: only their content differs."""
    root, module = tmp_path / "scenes", tmp_path / "own_model.py"
    shutil.copytree(data, root)
    module.write_text((ROOT / "tests/evaluation/downstream/tiny.py").read_text())
    (tmp_path / "own_hook.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    hooks = []

    def test_one_image() -> int:
        subject = make_subject(str(root), "own_model:classifier")
        subject.cfg.custom_imports = dict(imports="own_hook")
        subject.cfg.custom_hooks = hooks
        digest = engine.data_digest(engine.build_dataset(subject.cfg))
        rest = (Rain(), Derainer(), digest, [0], tmp_path / "out", Console(quiet=True))
        engine.run_condition(subject, "clean", *rest)
        return len(list(tmp_path.glob("out/records/clean-*/*.npz")))

    assert test_one_image() == 1
    if changed == "image":
        path = min(root.rglob("*.JPEG"))
        Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path, quality=95)
    elif changed == "function":
        module.write_text(module.read_text().replace("nn.ReLU()", "nn.Tanh()"))
        monkeypatch.delitem(sys.modules, "own_model")
        importlib.invalidate_caches()
    elif changed == "import":
        (tmp_path / "own_hook.py").write_text("# of another version")
    elif changed == "hooks":
        hooks.append(dict(type="SyncBuffersHook"))
    elif changed == "package":
        monkeypatch.setattr(engine, "package_sha256", lambda: "of other source")
    else:
        versions = {**engine.package_versions(), "torch": "0.1"}
        monkeypatch.setattr(engine, "package_versions", lambda: versions)
    assert test_one_image() == 2
    assert test_one_image() == 2  # what has not changed is not done again


def test_records_of_several_machines_are_told(data, tmp_path, monkeypatch):
    """A table says where all of it was made, and not where it was put together."""
    here = engine.provenance()
    first = {**here, "machine": {**here["machine"], "device": "a GPU"}}
    monkeypatch.setattr(engine, "provenance", lambda: first)
    run(data, tmp_path, "--limit", "2")
    monkeypatch.undo()
    results = run(data, tmp_path, "--limit", "4")
    assert [one.machine["device"] for one in results.origins] == ["a GPU", "CPU"]
    # two of the four images are those of the first run: 0, 12 of 0, 6, 12, 18
    assert [one.predictions for one in results.origins] == [8, 8]
    assert all(one.first <= one.last for one in results.origins)
    said = "Predictions of 2 environments are mixed here, which differ in device: a GPU, CPU."
    assert said in (tmp_path / "report.html").read_text()
    assert said in (tmp_path / "table.md").read_text()
    again = run(data, tmp_path, "--limit", "2")
    assert [one.machine["device"] for one in again.origins] == ["a GPU"]
    assert "environments" not in (tmp_path / "report.html").read_text()


def test_rain_and_deraining_change_what_the_model_says(whole):
    """Or the comparison above would compare nothing."""
    said = {}
    for folder in (whole / "records").iterdir():
        loaded = RecordStore(folder).load(list(range(IMAGES)))
        said[folder.name.rsplit("-", 1)[0]] = np.stack([record["scores"] for record in loaded])
    names = list(said)
    assert sorted(names) == ["clean", "clean_derained", "derained", "rainy"]
    assert not np.array_equal(said["clean"], said["rainy"])
    assert not np.array_equal(said["rainy"], said["derained"])


def test_a_killed_run_goes_on_and_ends_with_the_same_table(data, whole, tmp_path):
    command = [sys.executable, "-c", FEW_AT_ONCE, *options(data, tmp_path)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("records/derained-*/*.npz"))) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder,) = tmp_path.glob("records/derained-*")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    assert 0 < len(RecordStore(folder).done) < IMAGES
    assert not (tmp_path / "results.json").exists()

    run(data, tmp_path)
    assert table(tmp_path) == table(whole)
    for name, written in before.items():  # what was there was used, not done again
        assert (folder / name).stat().st_mtime_ns == written


def test_threads_that_were_asked_for_stay(monkeypatch):
    """docs/scaling.md: each process has the cores that OMP_NUM_THREADS gives it."""
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(downstream, "evaluate", lambda *arguments: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)), raising=False)
    subject = types.SimpleNamespace(cfg=Config({"test_dataloader": {}}))
    for given in ("1", None):
        if given is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", given)
        downstream._run("classification", downstream.TableOptions(), subject, "m", "")
    assert asked == [16] and subject.cfg.test_dataloader.num_workers == 32
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # by torchrun
    downstream._run("classification", downstream.TableOptions(), subject, "m", "")
    assert asked == [16, 4] and subject.cfg.test_dataloader.num_workers == 8


def test_two_processes_give_the_same_table_and_do_no_image_twice(data, whole, tmp_path):
    script = tmp_path / "count_scores.py"
    script.write_text(COUNT_SCORES)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", str(script), *options(data, tmp_path)]
    command += ["--launcher", "pytorch"]
    result = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert table(tmp_path) == table(whole)
    for folder in (tmp_path / "records").iterdir():
        shards = [np.load(path)["indices"] for path in folder.glob("*.npz")]
        assert len(shards) == 2
        assert sorted(np.concatenate(shards).tolist()) == list(range(IMAGES))
    scored = sorted(path.name for path in tmp_path.glob("scored-by-*"))
    assert scored == ["scored-by-0"]  # the other process has nothing to score


def test_what_the_first_process_raises_all_raise(monkeypatch):
    """Or the others would wait for it until they are ended."""
    error = UserError("a wrong clean score")

    def receive(objects):
        objects[0] = error

    monkeypatch.setattr(run_module, "is_main_process", lambda: False)
    monkeypatch.setattr(run_module, "broadcast_object_list", receive)
    with pytest.raises(UserError, match="a wrong clean score"):
        run_module._in_first_process(lambda: pytest.fail("not its work"))


def test_a_warm_cache_gives_what_a_cold_one_gives(data, whole, tmp_path):
    cache = tmp_path / "cache"
    run(data, tmp_path / "cold", "--cache", str(cache))
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")}
    assert len(kept) == 2 * IMAGES  # rainy and clean ones
    run(data, tmp_path / "warm", "--cache", str(cache))
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")} == kept
    assert table(tmp_path / "cold") == table(tmp_path / "warm") == table(whole)


def test_limit_takes_images_from_all_of_the_data_set(data, tmp_path):
    results = run(data, tmp_path, "--limit", "6")
    assert results.dataset.images == 6 and not results.dataset.whole
    (folder,) = tmp_path.glob("records/clean-*")
    assert RecordStore(folder).done == {0, 4, 8, 12, 16, 20}


def test_batches_are_derained_after_the_resize(data, whole, tmp_path):
    results = run(data, tmp_path, "--where", "batch", "--limit", "12")
    assert results.derainer.where == "batch"
    for condition, same in (("rainy", True), ("derained", False)):
        scores = []
        for out in (tmp_path, whole):
            (folder,) = out.glob(f"records/{condition}-*")
            loaded = RecordStore(folder).load(list(range(0, IMAGES, 2)))
            scores.append(np.stack([record["scores"] for record in loaded]))
        assert np.allclose(*scores, atol=1e-6) is same


def test_samples_of_batches_are_what_the_model_saw(data, tmp_path):
    results = run(data, tmp_path, "--where", "batch", "--limit", "2", "--samples", "1")
    network = classifier()
    settings = timm.data.resolve_data_config(pretrained_cfg=network.pretrained_cfg)
    transform = timm.data.create_transform(**settings, normalize=False)
    (sample,) = results.samples
    (path,) = data.rglob(sample.image)
    clean = Image.open(path).convert("RGB")
    name = path.relative_to(data).as_posix()
    rainy = transform(SynthesizeRain("heavy", 0)(clean, image_id=name))
    expected = {"clean": transform(clean), "rainy": rainy, "derained": JorderDerain()(rainy)}
    for condition, inputs in expected.items():
        with Image.open(tmp_path / sample.images[condition]) as seen:
            assert seen.size == (SIZE, SIZE)
            np.testing.assert_array_equal(np.array(seen), inputs.permute(1, 2, 0).numpy())
    assert not torch.equal(expected["rainy"], expected["derained"])


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_cannot_be_read(data, tmp_path, workers):
    copy = tmp_path / "data"
    (copy / "car").mkdir(parents=True)
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(OBJECTS))
    for path in sorted((data / "car").glob("*.JPEG")):
        (copy / "car" / path.name).write_bytes(path.read_bytes())
    (copy / "car/broken.JPEG").write_bytes(b"\xff\xd8\xff nothing")
    more = ("--classes", str(names), "--workers", workers)
    result = CliRunner().invoke(app, options(copy, tmp_path / "stop", *more))
    assert result.exit_code == 2
    assert "broken.JPEG cannot be read" in result.output and "--skip-unreadable" in result.output
    assert "Traceback" not in result.output

    results = run(copy, tmp_path / "skip", *more, "--skip-unreadable")
    assert results.dataset.images == 2 and not results.dataset.whole
    assert [Path(path).name for path in results.dataset.unreadable] == ["broken.JPEG"]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_pipeline_that_fails_is_not_blamed_on_the_image(data, tmp_path, monkeypatch, workers):
    def fail(self, results):
        raise ValueError("a defect")

    monkeypatch.setattr(ResizeAndPack, "__call__", fail)
    more = ("--skip-unreadable", "--workers", workers)
    result = CliRunner().invoke(app, options(data, tmp_path, *more))
    assert isinstance(result.exception, RuntimeError)
    assert not isinstance(result.exception, UserError)
    message = str(result.exception)
    assert re.search(r"fails on .*\.JPEG, which its loader can read: ValueError: a def", message)


def test_what_the_loader_refuses_is_skipped(data, tmp_path, monkeypatch):
    """Whatever Pillow makes of it."""
    files = [path.name for path in sorted((data / OBJECTS[0]).glob("*.JPEG"))]
    load = LoadPillowImage.__call__

    def refuse(self, results):
        if results["img_path"].endswith(files[0]):
            raise AssertionError("16 bits")
        return load(self, results)

    monkeypatch.setattr(LoadPillowImage, "__call__", refuse)
    result = CliRunner().invoke(app, options(data, tmp_path / "stop", "--limit", "4"))
    assert result.exit_code == 2
    assert f"{files[0]} cannot be read (AssertionError: 16 bits)" in " ".join(result.output.split())
    results = run(data, tmp_path / "skip", "--limit", "4", "--skip-unreadable")
    assert [Path(path).name for path in results.dataset.unreadable] == [files[0]]
    assert results.dataset.images == 3


def test_a_known_model_must_reach_its_published_score(data, tmp_path, monkeypatch):
    known = {("classification", MODEL): ({"top-1": 0.999}, "nobody")}
    monkeypatch.setattr(published_scores, "REFERENCES", known)
    monkeypatch.setitem(published_scores.SET_SIZES, "classification", IMAGES)
    result = CliRunner().invoke(app, options(data, tmp_path))
    assert result.exit_code == 2
    assert "published 99.90 %" in result.output and "doctor" in result.output
    # nothing was spent on the other conditions
    assert [path.name.split("-")[0] for path in (tmp_path / "records").iterdir()] == ["clean"]
    assert run(data, tmp_path, "--skip-reference-check").metrics["top-1"].clean < 0.999


def test_settings_that_change_the_rain_start_afresh(data, tmp_path):
    run(data, tmp_path, "--limit", "3", "--severity", "1")
    results = run(data, tmp_path, "--limit", "3", "--severity", "5", "--seed", "7")
    assert (results.rain.preset, results.rain.seed) == ("severity_5", 7)
    assert len(list(tmp_path.glob("records/clean-*"))) == 1
    assert len(list(tmp_path.glob("records/rainy-*"))) == 2


def test_several_presets_in_one_run(data, whole, tmp_path):
    presets = ("--preset", "heavy", "--preset", "light", "--preset", "heavy")
    result = CliRunner().invoke(app, options(data, tmp_path, *presets))
    assert result.exit_code == 0, result.output
    heavy, light = from_json((tmp_path / "results.json").read_text())
    assert (heavy.rain.preset, light.rain.preset) == ("heavy", "light")
    (alone,) = from_json((whole / "results.json").read_text())
    assert heavy.metrics == alone.metrics and light.metrics != alone.metrics
    assert len(list(tmp_path.glob("records/clean-*"))) == 1
    files = [file for one in (heavy, light) for s in one.samples for file in s.images.values()]
    assert len(set(files)) == len(files) == len(list(tmp_path.glob("samples/*.png")))


def test_labels_that_were_mended_start_afresh(data, tmp_path):
    """What a model said is kept with what was true then."""
    flat, names, labels = (tmp_path / name for name in ("flat", "classes.txt", "labels.txt"))
    flat.mkdir()
    names.write_text("\n".join(OBJECTS))
    files = [next((data / name).glob("*.JPEG")) for name in OBJECTS[:4]]
    for path in files:
        (flat / path.name).write_bytes(path.read_bytes())
    more = ("--labels", str(labels), "--classes", str(names))
    found = []
    for shift in (1, 0):
        lines = [f"{path.name} {OBJECTS[k + shift]}" for k, path in enumerate(files)]
        labels.write_text("\n".join(lines))
        found.append({row.name for row in run(flat, tmp_path / "out", *more).classes.rows})
    assert found == [set(OBJECTS[1:5]), set(OBJECTS[:4])]


def test_the_weights_of_a_model_without_a_file_are_recorded(whole):
    (results,) = from_json((whole / "results.json").read_text())
    assert results.model.sha256 == state_sha256(classifier().state_dict())


def test_the_cpu_where_there_is_a_gpu(data, tmp_path, monkeypatch):
    """MMEngine chooses the GPU as it is imported, before the command says anything."""
    monkeypatch.setattr(mmengine.device.utils, "DEVICE", "cuda")
    results = run(data, tmp_path, "--limit", "2", "--device", "cpu")
    assert [one.machine["device"] for one in results.origins] == ["CPU"]


def test_tables_of_several_runs_in_one_report(data, whole, deveil_weights, tmp_path):
    deveil = ("--deveil", "auto", "--deveil-weights", deveil_weights)
    run(data, tmp_path / "light", "--limit", "3", "--preset", "light", *deveil)
    folders = [str(whole), str(tmp_path / "light")]
    result = CliRunner().invoke(app, ["report", *folders, "--out", str(tmp_path / "both")])
    assert result.exit_code == 0, result.output
    both = from_json((tmp_path / "both/results.json").read_text())
    assert [one.rain.preset for one in both] == ["heavy", "light"]
    assert [one.derainer.deveil for one in both] == [False, "auto"]
    page = (tmp_path / "both/report.html").read_text()
    for name in ("jorder_e_lite", "jorder_e_lite + deveil (auto)"):
        assert f"<small>{name}</small>" in page
    assert page.count("data:image/jpeg") >= 12

    (tmp_path / "light/results.json").write_text("{}")
    result = CliRunner().invoke(app, ["report", *folders, "--out", str(tmp_path / "both")])
    assert result.exit_code == 2 and "light/results.json: the key" in result.output


@pytest.mark.parametrize("kind", ["absolute", "parent", "link"])
def test_report_reads_no_images_from_elsewhere(whole, tmp_path, kind):
    """`results.json` may come from anyone, and the page with the images go to anyone."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (7, 7)).save(secret)
    foreign = tmp_path / "foreign"
    shutil.copytree(whole, foreign)
    document = json.loads((foreign / "results.json").read_text())
    names = {"absolute": str(secret), "parent": "samples/../../secret.png", "link": "samples/a.png"}
    document["results"][0]["samples"][0]["images"]["clean"] = names[kind]
    if kind == "link":
        (foreign / "samples/a.png").symlink_to(secret)
    (foreign / "results.json").write_text(json.dumps(document))
    out = tmp_path / "both"
    result = CliRunner().invoke(app, ["report", str(whole), str(foreign), "--out", str(out)])
    assert result.exit_code == 2
    message = " ".join(result.output.split())
    assert f"name the image {names[kind]}, which lies outside of that folder" in message
    assert not (out / "report.html").exists()


def test_a_report_stays_whole_without_the_folders_it_was_made_of(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "one")
    command = ["report", str(tmp_path / "one"), "--out", str(tmp_path / "two")]
    assert CliRunner().invoke(app, command).exit_code == 0
    shutil.rmtree(tmp_path / "one")
    command = ["report", str(tmp_path / "two"), "--out", str(tmp_path / "three")]
    assert CliRunner().invoke(app, command).exit_code == 0
    pages = [(folder / "report.html").read_text() for folder in (whole, tmp_path / "three")]
    assert pages[0] == pages[1]


def test_only_mistakes_of_the_user_are_told_in_a_line(data, tmp_path, monkeypatch):
    arguments = options(data, tmp_path, "--preset", "drizzle")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output
    result = CliRunner().invoke(app, [*arguments, "--debug"])
    assert isinstance(result.exception, UserError) and "drizzle" in str(result.exception)

    def fail(*_, **__):
        raise ValueError("a defect")

    monkeypatch.setattr(run_module, "build_dataset", fail)
    result = CliRunner().invoke(app, options(data, tmp_path))
    assert type(result.exception) is ValueError and result.exit_code == 1
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    result = CliRunner().invoke(app, options(data, blocked))
    assert result.exit_code == 2 and f"cannot write to {blocked}" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet18"], "--model need --data"),
        (["--labels", "a.txt", "--crop-pct", "1"], "--labels, --crop-pct need --data"),
        (["--data", "DATA", "--model", "resnet1800"], "timm .* has no model 'resnet1800'"),
        (
            ["--data", "DATA", "--model", "tests.evaluation.downstream.tiny:nothing"],
            "module:function",
        ),
        (["--data", "NOWHERE", "--model", MODEL], "no folder"),
        (["--data", "[/red]", "--model", MODEL], r"no folder \[/red\]"),
        (
            ["--data", "DATA", "--model", MODEL, "--checkpoint", "none.pth"],
            "no checkpoint none.pth",
        ),
        (["--preset", "drizzle"], "drizzle"),
        (["--preset", "light", "--severity", "2"], "--preset or --severity"),
        (["--derainer", "jorder_z"], "jorder_z"),
        (["--derainer-weights", "none.safetensors"], "none.safetensors"),
        (["--data", "DATA", "--model", MODEL, "--derainer-weights", "OTHER"], "jorder_e_practical"),
        (["--device", "tpu"], "cpu, cuda or cuda:N"),
        (["--device", "cpu:1"], "cpu, cuda or cuda:N"),
        (["--launcher", "pytorch"], "torchrun"),
        (["--cache", "x", "--where", "batch"], "leave it out with batch"),
        (["--deveil-weights", "OTHER"], "--deveil-weights are for --deveil on or auto"),
        (["--deveil", "on", "--deveil-weights", "none.safetensors"], "none.safetensors"),
        (["--deveil", "auto", "--deveil-weights", "OTHER"], "which is no deveil network"),
    ],
)
def test_mistakes_are_told_in_a_line(data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.chdir(tmp_path)
    save_weights(random_network("jorder_e_practical"), tmp_path / "other.safetensors")
    files = {"DATA": str(data), "OTHER": "other.safetensors"}
    arguments = [files.get(argument, argument) for argument in arguments]
    result = CliRunner().invoke(app, ["classification", *arguments])
    assert result.exit_code == 2, result.output
    output = " ".join(result.output.split())
    assert output.startswith("error:")
    assert re.search(message, output), output
    assert not list(tmp_path.rglob("results.json"))


def test_outputs_that_do_not_fit_the_classes(data, tmp_path):
    names = tmp_path / "classes.txt"
    names.write_text("\n".join([*OBJECTS, "zebra"]))
    result = CliRunner().invoke(app, options(data, tmp_path / "out", "--classes", str(names)))
    assert result.exit_code == 2
    assert "12 outputs" in result.output and "--classes" in result.output


def test_brackets_in_paths_are_printed(tmp_path):
    folder = tmp_path / "photos [old]"
    result = CliRunner().invoke(app, ["doctor", "detection", str(folder)])
    assert result.exit_code == 1 and f"error layout: no folder {folder}" in result.output


def test_doctor(data, tmp_path):
    result = CliRunner().invoke(app, ["doctor", "classification", str(data)])
    assert result.exit_code == 0, result.output
    assert "warning" in result.output  # 24 images are not ImageNet
    result = CliRunner().invoke(app, ["doctor", "detection", str(tmp_path)])
    assert result.exit_code == 1 and "error" in result.output
    result = CliRunner().invoke(app, ["doctor", "detection", str(tmp_path), "--outputs", "7"])
    assert result.exit_code == 2 and "are for classification" in result.output


def test_settings_are_kept_with_the_records(whole):
    (folder,) = whole.glob("records/derained-*")
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["rain"]["preset"] == "heavy" and len(settings["derainer"]["sha256"]) == 64
    layers = get_preset("heavy").layers
    assert settings["rain"]["drawn"]["layers"] == list(layers)
    assert records.RecordStore(folder).images_per_second > 0
