from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import docs_tables
from tools.docs_tables import (
    MAX_BYTES,
    PAGE,
    SECTIONS,
    SPEED,
    SPEED_PAGE,
    main,
    read_command,
    replace_tables,
)

TEXT = """\
# Tables

<!-- masks -->
| old |

![In words](figures/masks.png)

```
python -m evaluation figure masks --seed 3
```
<!-- /masks -->

<!-- speed -->
```
python -m evaluation speed
```
<!-- /speed -->
end
"""


def test_only_the_tables_of_the_section_change():
    new = replace_tables(TEXT, "masks", "| `new` |\n\nA note.\n")
    assert new == TEXT.replace("| old |", "| `new` |\n\nA note.")
    assert replace_tables(new, "masks", "| old |") == TEXT
    filled = replace_tables(TEXT, "speed", "fast")
    assert filled == TEXT.replace("<!-- speed -->\n", "<!-- speed -->\nfast\n\n")


def test_the_command_is_that_of_the_section():
    assert read_command(TEXT, "masks") == ["figure", "masks", "--seed", "3"]


def test_every_section_of_the_pages_has_its_command():
    page = PAGE.read_text(encoding="utf-8")
    names = [name for name in SECTIONS if name not in SPEED]
    names += ["features", "recurrence", "training-sets"]
    for name in names:
        command = read_command(page, name)
        assert command[0] == name or command[:2] == ["figure", name]
    assert page.count("<!-- /") == len(names)
    page = SPEED_PAGE.read_text(encoding="utf-8")
    other = {"--start-up", "--workers"}
    options = [other.intersection(read_command(page, name)) for name in SPEED]
    assert options == [set(), {"--start-up"}, {"--workers"}]
    assert all(read_command(page, name)[0] == "speed" for name in SPEED)
    assert page.count("<!-- /") == len(SPEED)


def test_each_section_is_updated_on_its_page(monkeypatch):
    updated = []
    monkeypatch.setattr(docs_tables, "update", lambda page, name, out: updated.append((page, name)))
    assert main(["masks", "workers"]) == 0
    assert updated == [(PAGE, "masks"), (SPEED_PAGE, "workers")]


def fake_run(monkeypatch, returncode=0):
    commands = []

    def run(command, check):
        commands.append(command[1:])
        out = Path(command[-1])
        out.mkdir(parents=True)
        (out / "masks.md").write_text("| new |\n")
        noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(out / "masks.jpg", quality=95)
        Image.new("RGB", (3, 3)).save(out / "masks.png")
        return type("Done", (), {"returncode": returncode})

    monkeypatch.setattr(docs_tables.subprocess, "run", run)
    return commands


@pytest.fixture
def page(tmp_path):
    (tmp_path / "docs/figures").mkdir(parents=True)
    (tmp_path / "docs/tables.md").write_text(TEXT)
    return tmp_path / "docs/tables.md"


def test_the_page_takes_tables_and_figures(page, tmp_path, monkeypatch):
    commands = fake_run(monkeypatch)
    out = tmp_path / "out"
    assert main(["masks", "--page", str(page), "--out", str(out)]) == 0
    arguments = ["figure", "masks", "--seed", "3", "--out", str(out / "masks")]
    assert commands == [["-m", "evaluation", *arguments]]
    assert page.read_text() == TEXT.replace("| old |", "| new |")
    assert (page.parent / "figures/masks.jpg").stat().st_size <= MAX_BYTES
    assert Image.open(page.parent / "figures/masks.png").size == (3, 3)


def test_a_failed_command_changes_nothing(page, tmp_path, monkeypatch, capsys):
    fake_run(monkeypatch, returncode=2)
    assert main(["masks", "--page", str(page), "--out", str(tmp_path / "out")]) == 2
    assert "the command of the section masks failed" in capsys.readouterr().err
    assert page.read_text() == TEXT and not list((page.parent / "figures").iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- a -->",
        "<!-- a -->\ntable\n<!-- /a -->",
        "<!-- a -->\n```\nrm -rf /\n```\n<!-- /a -->",
        "<!-- ab -->\n```\npython -m evaluation speed\n```\n<!-- /ab -->",
        2 * "<!-- a -->\n```\npython -m evaluation speed\n```\n<!-- /a -->\n",
    ],
)
def test_a_page_without_the_section_is_refused(text):
    with pytest.raises(ValueError, match="expected one section <!-- a -->"):
        read_command(text, "a")
