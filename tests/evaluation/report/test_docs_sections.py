import pytest

from evaluation.report.docs_sections import check_section, replace_section

PAGE = "# Tables\n\n<!-- speed -->\nfast\n<!-- /speed -->\n\n<!-- masks -->\n<!-- /masks -->\ntail"


def test_only_the_section_changes(tmp_path):
    page = tmp_path / "tables.md"
    page.write_text(PAGE)
    replace_section(page, "masks", "\n| a |\n\n", "python -m evaluation masks")
    masks = "| a |\n\n```\npython -m evaluation masks\n```"
    expected = PAGE.replace("<!-- masks -->\n", f"<!-- masks -->\n{masks}\n")
    assert page.read_text() == expected
    # again, and another one
    replace_section(page, "masks", "| a |", "python -m evaluation masks")
    assert page.read_text() == expected
    replace_section(page, "speed", "slow", "c")
    assert page.read_text() == expected.replace("fast\n", "slow\n\n```\nc\n```\n")
    assert list(tmp_path.iterdir()) == [page]


def test_bytes_outside_stay(tmp_path):
    page = tmp_path / "tables.md"
    before, after = "\ufeffgrün \r\n<!-- a -->", "<!-- /a -->\r\n\tend \r\n\r\n"
    page.write_bytes((before + "x\r\n" + after).encode())
    replace_section(page, "a", "1\n2", "c")
    new = "\r\n1\r\n2\r\n\r\n```\r\nc\r\n```\r\n"
    assert page.read_bytes() == (before + new + after).encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*tables.md .No such file.*; expected <!-- a --> and, further down,"),
        ("", "has no section a: expected"),
        ("<!-- a -->", "has no section a"),
        ("<!-- /a --><!-- a -->", "has no section a"),
        ("<!-- a --><!-- a --><!-- /a -->", "has no section a"),
        ("<!-- a --><!-- /a --><!-- /a -->", "has no section a"),
        ("<!-- ab --><!-- /ab -->", "has no section a"),
    ],
)
def test_refuses(tmp_path, text, message):
    page = tmp_path / "tables.md"
    if text is not None:
        page.write_text(text)
    for call in (
        lambda: check_section(page, "a"),
        lambda: replace_section(page, "a", "text", "command"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert not page.exists() or page.read_text() == text


def test_a_section_in_a_section_is_refused(tmp_path):
    page = tmp_path / "tables.md"
    page.write_text("<!-- a --><!-- /a -->")
    check_section(page, "a")
    with pytest.raises(ValueError, match="must not hold its own markers"):
        replace_section(page, "a", "text", "echo '<!-- /a -->'")
    assert page.read_text() == "<!-- a --><!-- /a -->"
