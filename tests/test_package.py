"""What `import jorder_preproc` brings along."""

import subprocess
import sys

import pytest

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
