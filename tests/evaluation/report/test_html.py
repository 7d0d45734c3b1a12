import base64
import csv
import dataclasses
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from evaluation.metrics.statistics import UNDEFINED
from evaluation.report.html import mark, provenance, recovery_axis, rows_by_loss, write_report
from evaluation.report.schema import Classes, ClassRow, PairedTest, from_json
from evaluation.report.tables import (
    comma_separated,
    describe_test,
    markdown,
    percent,
    percent_interval,
    points,
    points_interval,
    recovery_interval,
    remarks,
    terminal_table,
)
from tests.evaluation.report.example import (
    classification,
    detection,
    metric,
    segmentation,
    with_samples,
)


class Page(HTMLParser):
    """Rows of cells of each table, images, and everything that could point elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.links, self.images, self.alts, self.text = [], [], [], [], ""
        self.cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            if name in attributes:
                self.links.append(attributes[name])
        if tag == "img":
            self.images.append(attributes["src"])
            self.alts.append(attributes["alt"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.cell = tag
        if tag == "small" and self.cell:
            self.tables[-1][-1][-1] += " "

    def handle_endtag(self, tag):
        if tag == self.cell:
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.tables[-1][-1][-1] += " ".join(data.split())


def read(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def in_storms():
    """One model on one data set: in heavy rain, and in storms with and without deveil."""
    example = classification(4)
    storm, off = dataclasses.replace(example.rain, preset="storm"), example.derainer
    on = dataclasses.replace(off, deveil=True)
    auto = dataclasses.replace(on, deveil="auto", deveil_weights="veil.safetensors")
    return [
        example,
        *(
            dataclasses.replace(
                example, rain=storm, derainer=one, deveil_sha256="cd" * 32 if one.deveil else None
            )
            for one in (off, on, auto)
        ),
    ]


DERAINERS = [
    *("jorder_e_lite", "jorder_e_lite"),
    *("jorder_e_lite + deveil", "jorder_e_lite + deveil (auto)"),
]


def dry():
    """Rain took nothing: no recovery."""
    metrics = {"top-1": metric(0.7, 0.7, 0.71, 0.69)}
    return dataclasses.replace(classification(4), metrics=metrics, mcnemar=None)


def test_numbers_in_words():
    assert percent(0.724) == "72.40" and percent(0.76746, 1) == "76.7"
    assert points(-0.0012) == "-0.12" and points(0.005) == "+0.50"
    assert points(-0.00001) == "+0.00"  # not -0.00
    assert percent(math.nan) == points(math.nan) == "-"
    assert percent_interval((0.71, 0.73), 1) == "71.0 to 73.0"
    assert points_interval((-0.001, 0.002)) == "-0.10 to +0.20"
    assert percent_interval(UNDEFINED) == ""
    assert "p < 0.000001" in describe_test(PairedTest(2000, 30, 1e-9))
    assert describe_test(PairedTest(2000, 30, 0.0123)).startswith("2,000 images are right only")
    assert "p = 0.012" in describe_test(PairedTest(2000, 30, 0.0123))


def test_markdown_has_the_form_of_the_paper():
    lines = markdown([classification()]).splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    assert rows[0][1:] == [
        *("top-1", "top-5", "top-10"),
        *("top-1, paper", "top-5, paper", "top-10, paper"),
    ]
    table = {}
    for row in rows[2:]:
        table.setdefault(row[0], row[1:])
    assert list(table)[:4] == ["Clean", "Rain", "Rain removed", "Clean, through the derainer"]
    assert table["Clean"] == ["72.40", "90.88", "94.50", "66.15", "86.95", "91.53"]
    assert table["Rain removed"] == ["68.04", "87.50", "92.00", "60.89", "83.16", "88.73"]
    assert table["Clean, through the derainer"] == ["72.28", "90.81", "94.50", "-", "-", "-"]
    # 0.22921 / 0.2728, and the paper's 17.36 / 22.62
    assert table["Recovery"][0] == "84.0" and table["Recovery"][3] == "76.7"
    assert table["95 % interval"][0] == "80.0 to 87.5"
    assert table["Harm, points"][0] == "-0.12"
    assert len({len(row) for row in rows}) == 1
    assert any("other model, other rain" in line for line in lines)


def test_markdown_cells_cannot_break_the_table():
    odd = dataclasses.replace(detection(), metrics={"a|b": detection().metrics["mAP"]})
    assert "| % | a\\|b |" in markdown([odd])


def test_csv_holds_every_digit():
    results = [classification(), segmentation(), dry()]
    rows = list(csv.DictReader(io.StringIO(comma_separated(results))))
    measured = [row for row in rows if row["source"] == "measured"]
    assert [row["metric"] for row in measured] == [m for r in results for m in r.metrics]
    top1 = results[0].metrics["top-1"]
    for name in ("clean", "rainy", "derained", "clean_derained", "recovery", "harm"):
        assert float(measured[0][name]) == getattr(top1, name)
    ends = (float(measured[0]["recovery_low"]), float(measured[0]["recovery_high"]))
    assert ends == top1.interval
    ends = (float(measured[0]["rainy_low"]), float(measured[0]["rainy_high"]))
    assert ends == top1.intervals["rainy"]
    assert measured[-1]["recovery"] == measured[-1]["recovery_low"] == ""
    papers = [row for row in rows if row["source"] == "paper" and row["task"] == "segmentation"]
    assert [row["metric"] for row in papers] == ["mIoU", "aAcc"]
    assert papers[0]["rainy"] == "0.2675" and papers[0]["clean_derained"] == ""
    assert not any(None in row or None in row.values() for row in rows)


@pytest.mark.parametrize("several", [False, True])
def test_terminal_table_fits_80_columns(several):
    results = [classification(), segmentation(), detection()] if several else [classification()]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(results))
    text = console.export_text()
    assert "\u2026" not in text and max(map(len, text.splitlines())) <= 80
    line = next(line for line in text.splitlines() if line.startswith("top-1 "))
    assert line.split() == ["top-1", "72.40", "45.12", "68.04", "84.0", "-0.12", "76.7"]
    assert "80.0 to 87.5" in text and "12,000 images are right only" in text
    assert ("segmentation" in text) is several


def test_tables_of_one_model_are_told_apart(tmp_path):
    results = in_storms()
    presets = ["heavy", "storm", "storm", "storm"]
    labels = [f"rain {preset} {name}" for preset, name in zip(presets, DERAINERS, strict=True)]
    assert len(set(labels)) == 4
    write_report(results, tmp_path)
    page = Page(read(tmp_path))
    overview = page.tables[0]
    assert [row[0].partition("classification, ")[2] for row in overview[1:]] == labels
    text = " ".join(page.text.split())
    head = results[0].title
    places = [
        text.index(f"{head} Rain: {preset}, seed 0. Derainer: {name}, in the pipeline.")
        for preset, name in zip(presets, DERAINERS, strict=True)
    ]
    assert places == sorted(places) and len(set(places)) == 4

    first, *sections = (tmp_path / "table.md").read_text(encoding="utf-8").split("## ")[1:]
    cells = [line.split(" | ") for line in first.splitlines() if "| top-1 |" in line]
    assert [row[2] for row in cells] == presets
    assert cells[0][4:] == [
        "72.40",
        "45.12",
        "68.04",
        "72.28",
        "84.0 (80.0 to 87.5)",
        "-0.12 (-0.52 to +0.18) |",
    ]
    for section, preset, name in zip(sections, presets, DERAINERS, strict=True):
        assert f"Rain: {preset}, seed 0. Derainer: {name}, in the pipeline." in section
        assert section.index("Derainer: ") < section.index("| Clean |")

    rows = list(csv.DictReader((tmp_path / "table.csv").open(encoding="utf-8")))
    measured = [row for row in rows if row["metric"] == "top-1" and row["source"] == "measured"]
    assert [row["rain"] for row in measured] == presets
    assert [row["derainer"] for row in measured] == DERAINERS
    assert {row["derainer"] for row in rows if row["source"] == "paper"} == {""}

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table(results))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80 and not any("\u2026" in line for line in lines)
    starts = [number for number, line in enumerate(lines) if line.strip() == "classification"]
    below = [" ".join(line.strip() for line in lines[at + 1 : at + 4]) for at in starts]
    for found, preset, name in zip(below, presets, DERAINERS, strict=True):
        assert found.startswith(f"{preset} {name}")
        assert ("+ deveil" in found) is ("+ deveil" in name)


def test_files_of_a_report(tmp_path):
    results = [classification(), segmentation()]
    write_report(results, tmp_path / "new" / "out")
    names = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert names == {"results.json", "table.md", "table.csv", "report.html"}
    back = from_json((tmp_path / "new/out/results.json").read_text(encoding="utf-8"))
    assert [result.title for result in back] == [result.title for result in results]


def test_page_has_the_tables(tmp_path):
    write_report([with_samples(classification(), tmp_path)], tmp_path)
    page = Page(read(tmp_path))
    ours, paper = page.tables[:2]
    assert ours[0] == ["", "top-1", "top-5", "top-10"]
    assert ours[1][:2] == ["Clean", "72.40 70.90 to 73.90"]
    assert ours[3][:2] == ["Rain removed", "68.04 66.54 to 69.54"]
    assert ours[5][:2] == ["Recovery", "84.0 80.0 to 87.5"]
    assert ours[6][:2] == ["Harm, points", "\u22120.12 \u22120.52 to +0.18"]
    assert [row[0] for row in paper] == [row[0] for row in ours]
    assert paper[2][1:] == ["43.53", "67.09", "75.12"]
    assert paper[5][1:] == ["76.7", "80.9", "82.9"]
    assert "other model, other rain, shown for comparison" in page.text
    assert 'width="72.4%"' in read(tmp_path)  # the bar of the clean row
    values = dict(page.tables[-1])
    assert values["Command"].startswith("python -m evaluation classification")
    assert values["Versions, timm"] == "1.0.31" and values["Machine, gpu"] == "none"
    assert values["Derainer sha256"] == "ab" * 32 and values["Machine, threads"] == "1, 2"


def test_page_of_several_has_an_overview_and_a_section_each(tmp_path):
    write_report([classification(), segmentation(), detection()], tmp_path)
    page = Page(read(tmp_path))
    overview = page.tables[0]
    assert [row[1] for row in overview[1:]] == ["top-1", "mIoU", "mAP"]
    assert overview[2][2:5] == ["41.13", "25.12", "37.31"]
    assert overview[2][5:7] == ["76.1 72.1 to 79.6", "77.2"]
    targets = [link for link in page.links if link.startswith("#")]
    assert targets == ["#result-1", "#result-2", "#result-3"]
    assert all(f'id="{target[1:]}"' in read(tmp_path) for target in targets)


def test_page_needs_nothing_else(tmp_path):
    write_report([with_samples(classification(), tmp_path), detection()], tmp_path)
    text = read(tmp_path)
    assert all(link.startswith(("data:", "#")) for link in Page(text).links)
    for foreign in ("http:", "https:", "//www", "url(", "@import", "<link rel=style", "import "):
        assert foreign not in text
    assert "default-src 'none'" in text


def test_names_cannot_become_markup(tmp_path):
    rows = (ClassRow("<script>alert(1)</script>", 0.9, 0.5, 0.8, 0.9),)
    results = with_samples(
        classification(4), tmp_path, predictions={"rainy": '<b>bold</b> & "quoted"'}
    )
    results = dataclasses.replace(
        results,
        classes=dataclasses.replace(results.classes, rows=rows),
        origins=[dataclasses.replace(results.origins[0], machine={"<i>": "<u>"})],
        dataset=dataclasses.replace(
            results.dataset, root="</title><img src=r>", unreadable=("<img src=x onerror=f()>.jpg",)
        ),
        samples=[
            dataclasses.replace(sample, image="\"><img src=y onerror='f()'>.jpg", target="</dl>")
            for sample in results.samples
        ],
    )
    write_report([results], tmp_path)
    text = read(tmp_path)
    assert "ImageNet &lt;validation&gt;" in text and "&lt;script&gt;alert(1)" in text
    assert "&lt;img src=x onerror=f()&gt;.jpg" in text
    for markup in ("<script>alert", "<b>bold", "<u>", "<validation>", "<img src=x", "<img src=r"):
        assert markup not in text
    page = Page(text)
    assert all(image.startswith("data:image/jpeg") for image in page.images)
    assert {alt.rpartition(", ")[0] for alt in page.alts} == {"\"><img src=y onerror='f()'>.jpg"}


def test_undefined_recovery_is_said(tmp_path):
    results = dataclasses.replace(dry(), paper=())
    write_report([results], tmp_path)
    page = Page(read(tmp_path))
    assert page.tables[0][5] == ["Recovery", "\u2013"]
    assert "undefined, no loss to rain" in " ".join(page.text.split())
    assert not re.search(r"\bnan\b", read(tmp_path), re.I)


def test_images_are_inside_and_small(tmp_path):
    rng = np.random.default_rng(0)
    results = with_samples(classification(), tmp_path)
    wide = rng.integers(0, 256, (100, 1000, 3), dtype=np.uint8)
    Image.fromarray(wide).save(tmp_path / results.samples[0].images["clean"])
    write_report([results], tmp_path)
    page = Page(read(tmp_path))
    assert page.alts == [f"n01440764/7.JPEG, {name}" for name in ("clean", "rain", "rain removed")]
    images = []
    for uri in page.images:
        head, _, body = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        images.append(Image.open(io.BytesIO(base64.b64decode(body))))
    assert [image.size for image in images] == [(640, 64), (120, 90), (120, 90)]
    # 8-bit colours of the files, up to what JPEG loses
    for image, colour in zip(images[1:], ((0, 0, 255), (255, 0, 0)), strict=True):
        assert np.abs(np.asarray(image).astype(int) - colour).max() <= 3


def test_a_missing_image_is_named_and_the_numbers_are_safe(tmp_path):
    results = with_samples(classification(), tmp_path)
    (tmp_path / results.samples[0].images["rainy"]).write_text("no image")
    with pytest.raises(ValueError, match=r"classification_rainy\.png, which cannot be read"):
        write_report([results], tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"samples", "results.json", "table.md", "table.csv"}


def test_an_empty_report_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one table"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_classes_are_sorted_by_what_rain_took_and_folded(tmp_path):
    results = classification(40)
    rows = rows_by_loss(results.classes.rows)
    lost = [row.clean - row.rainy for row in rows[:-1]]
    assert lost == sorted(lost, reverse=True) and rows[-1].name == "never seen"
    assert sorted(row.name for row in rows) == sorted(row.name for row in results.classes.rows)
    write_report([results], tmp_path)
    shown, folded = (t for t in Page(read(tmp_path)).tables if t[0][0] == "Class")
    assert len(shown) == 31 and len(folded) == 11
    first = rows[0]
    assert shown[1] == [
        first.name,
        "",
        *(f"{100 * value:.1f}" for value in (first.clean, first.rainy, first.derained)),
        f"{100 * (first.clean - first.rainy):.1f}",
        f"{100 * (first.derained - first.rainy):+.1f}",
        "\u22120.4",
    ]
    assert folded[-1] == ["never seen", "", *["\u2013"] * 6]
    assert "The other 10 of 40 classes" in read(tmp_path)


def test_few_classes_are_not_folded(tmp_path):
    write_report([detection()], tmp_path)
    assert "<details>" not in read(tmp_path)


@pytest.mark.parametrize(
    ("task", "prediction", "expected"),
    [
        ("classification", "tench", "right"),
        ("classification", "umbrella", "wrong"),
        ("segmentation", "aAcc 91 %", ""),
        ("detection", "tench", "right"),
    ],
)
def test_right_and_wrong_are_marked(task, prediction, expected):
    assert mark(task, prediction, "tench") == expected


def test_marks_of_the_page(tmp_path):
    write_report([with_samples(classification(), tmp_path)], tmp_path)
    table = next(t for t in Page(read(tmp_path)).tables if t[0][0] == "Clean" and len(t) == 3)
    assert table == [
        ["Clean", "tench\u2713right"],
        ["Rain", "umbrella\u2717wrong"],
        ["Rain removed", "tench\u2713right"],
    ]


def test_the_axis_of_recoveries_widens():
    assert recovery_axis(classification()) == (0, 1)
    assert recovery_axis(dry()) == (0, 1)
    over = dataclasses.replace(metric(0.7, 0.6, 0.72, 0.7), interval=(-0.3, 1.5))
    results = dataclasses.replace(detection(), metrics={"mAP": over})
    assert recovery_axis(results) == (-0.3, 1.5)


def ceiling_and_unbounded():
    top = metric(1.0, 0.65, 1.0, 1.0, spread=0.0)
    top = dataclasses.replace(top, interval=(1.0, 1.0))
    loose = dataclasses.replace(metric(0.8, 0.79, 0.8, 0.8), interval=UNDEFINED)
    plain = dataclasses.replace(metric(0.8, 0.6, 0.7, 0.8), interval=UNDEFINED, intervals={})
    none = metric(0.5, 0.5, 0.5, 0.5)
    metrics = {"top-1": top, "top-5": loose, "COCO AP": plain, "top-10": none}
    return dataclasses.replace(classification(), metrics=metrics)


def test_ceilings_and_unbounded_intervals_are_marked(tmp_path):
    results = ceiling_and_unbounded()
    expected = ["100.0 to 100.0 (ceiling)", "unbounded", "", ""]
    assert [recovery_interval(one) for one in results.metrics.values()] == expected
    # not what is merely near to it
    assert percent_interval((0.99, 1.0), 1) == "99.0 to 100.0"
    row = next(line for line in markdown([results]).splitlines() if line.startswith("| 95 %"))
    assert row.startswith("| 95 % interval | 100.0 to 100.0 (ceiling) | unbounded | - | - |")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal_table([results]))
    lines = console.export_text().splitlines()
    assert any("100.0 to 100.0" in line for line in lines)
    assert any(line.strip() == "(ceiling)" for line in lines)
    assert max(map(len, lines)) <= 80
    write_report([results], tmp_path)
    page = (tmp_path / "report.html").read_text()
    for text in (markdown([results]), page):
        assert "Ceiling: recovery was complete" in text and "Unbounded: in more than" in text
    assert "100.0 to 100.0 (ceiling)" in page
    assert remarks(classification()) == []


def test_classes_that_recover_least_are_named():
    rows = [
        ClassRow("sky", 0.9, 0.88, 0.89, 0.9),  # 0.02 lost, half of it recovered
        ClassRow("road", 0.8, 0.79, 0.7, 0.8),  # hardly any lost
        ClassRow("pole", 0.5, 0.1, 0.2, 0.5),
        ClassRow("car", 0.9, 0.3, 0.84, 0.9),  # 90 % recovered
        ClassRow("never seen", *[math.nan] * 4),
    ]
    results = dataclasses.replace(segmentation(), classes=Classes("IoU", tuple(rows)))
    (remark,) = remarks(results)
    assert remark == (
        "Of 3 classes that rain takes 2 points or more from, 2 recover less than 85 %: "
        "pole (25 %), sky (50 %)."
    )
    assert remark in markdown([results])
    assert remarks(dataclasses.replace(results, task="classification")) == []
    assert "eiling" not in markdown([classification()])


def test_provenance_is_complete():
    results = dataclasses.replace(
        classification(),
        dataset=dataclasses.replace(classification().dataset, whole=False),
    )
    pairs = dict(provenance(results))
    assert pairs["Data"] == "ImageNet validation, 50,000 images, not the whole"
    assert pairs["Images per second, rain removed"] == "12.25"
    assert pairs["Rain preset"] == "heavy" and pairs["Rain seed"] == "0"
    assert pairs["Where it derains"] == "pipeline"
    assert pairs["Derainer"] == "jorder_e_lite" and not any("Deveil" in name for name in pairs)
    assert len(pairs) == len(list(provenance(results)))


def test_provenance_of_deveil():
    _, _, on, auto = (dict(provenance(results)) for results in in_storms())
    assert on["Derainer"] == "jorder_e_lite + deveil"
    assert on["Deveil weights"] == "shipped with the package"
    assert auto["Derainer"] == "jorder_e_lite + deveil (auto)"
    assert auto["Deveil weights"] == "veil.safetensors"
    assert on["Deveil sha256"] == auto["Deveil sha256"] == "cd" * 32
    assert on["Derainer sha256"] == "ab" * 32
