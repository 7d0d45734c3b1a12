"""What `import jorder_preproc` brings along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {"jorder_preproc", "torch", "torchvision", "numpy", "PIL", "safetensors"}


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout


def test_import_needs_only_the_core_requirements():
    """Everything else installed is hidden from the import: it must still work."""
    program = f"""
import sys
import torch, torchvision, numpy, PIL.Image, safetensors.torch
before = set(sys.modules)

class Hide:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {ALLOWED!r} and top not in sys.stdlib_module_names:
            raise ImportError(f"hidden: {{name}}")

sys.meta_path.insert(0, Hide())
import jorder_preproc
jorder_preproc.SynthesizeRain("light"), jorder_preproc.JorderDerain()
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""
    assert "jorder_preproc" in run(program).split()


@pytest.mark.parametrize("module", ["mmengine", "typer", "rich", "training"])
def test_import_leaves_alone(module):
    loaded = f"import sys, jorder_preproc; print({module!r} in sys.modules)"
    assert run(loaded).strip() == "False"


def test_no_connection_is_made(tmp_path):
    """Neither by the import nor by any use; the interpreter itself reports every socket."""
    program = f"""
import sys

def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.")):
        raise RuntimeError(f"connects: {{event}} {{arguments}}")

sys.addaudithook(refuse)
import numpy
from PIL import Image
import jorder_preproc
from jorder_preproc import cli, registry
from jorder_preproc.openmmlab.transforms import JorderDerain

image = numpy.full((20, 30, 3), 90, numpy.uint8)
rainy = jorder_preproc.SynthesizeRain("storm")(image)
jorder_preproc.JorderDerain(deveil=True)(rainy)
JorderDerain()({{"img": rainy}})
Image.fromarray(rainy).save({str(tmp_path / "a.png")!r})
for command in (["derain", {str(tmp_path / "a.png")!r}, "-o", {str(tmp_path / "out")!r}], ["info"]):
    assert not cli.app(command, standalone_mode=False), command
try:
    import socket
    socket.socket()
except RuntimeError as error:
    print(error)
"""
    assert "connects: socket.__new__" in run(program)
    assert (tmp_path / "out/a.png").is_file()


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords}


def test_no_file_can_run_code():
    """Pickles are read as plain tensors, arrays without pickles; no module unpickles by itself."""
    sources = [
        path
        for folder in (
            "jorder_preproc",
            "evaluation",
            "training",
            "benchmarks",
            "tools",
            "examples",
        )
        for path in (ROOT / folder).rglob("*.py")
    ]
    loads = 0
    for path in sources:
        for name, options in calls(path):
            if name == "torch.load":
                assert ast.unparse(options["weights_only"]) == "True", path
                loads += 1
            if name in ("np.load", "numpy.load"):
                assert ast.unparse(options["allow_pickle"]) == "False", path
            assert name not in ("pickle.load", "pickle.loads", "eval", "exec", "yaml.load"), path
            assert not name.endswith("load_state_dict_from_url"), path
    assert loads >= 3
