"""Names that become folders."""

from __future__ import annotations

import pytest

from gaitext.store.contract import check_template, folder_name, folder_path


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".hidden", "a/b", "/a", "a\\b", " a", "a ", "a\0", "a" * 256])
def test_what_cannot_name_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot name a folder|longer than the 255 bytes"):
        folder_name(name)


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "..", "../a", "a/..", "a/../../x", "a//b", "a/", "C:/a", "c:a", "..\\x"]
)
def test_what_leads_elsewhere_than_below_the_output_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"cannot name a folder|names no folder below"):
        folder_path(path)


def test_names_and_paths_below_are_taken() -> None:
    assert folder_name("nm-01") == "nm-01"
    assert folder_name("Ünï 5") == "Ünï 5"
    assert folder_path("a/b.c") == "a/b.c"


@pytest.mark.parametrize(
    "template",
    [
        *("{track:999999999d}", "{track:0999999999}", "{track:.999999999f}", "{clip:{track}d}", "{track:٩٩٩٩٩}"),
        *(
            "{track!r}",
            "{track.__class__}",
            "{track[0]}",
            "{}",
            "{0}",
            "{none}",
            "{track",
            "}",
            "{track:" + "9" * 5000 + "}",
        ),
    ],
)
def test_a_template_that_would_hang_or_read_something_else_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"is no format|is unknown|is no template"):
        check_template(template, ("track", "clip"))


def test_small_widths_are_filled_in() -> None:
    assert check_template("p{track:03d}-{clip}", ("track", "clip")).format(track=7, clip=2) == "p007-2"
