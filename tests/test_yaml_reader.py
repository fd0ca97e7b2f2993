"""YAML: what is read, and what is refused with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gaitext.config import load_yaml, naming_file, parse_yaml
from gaitext.errors import ConfigError

_ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)
_MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))

#: What is wrong -> its line, and words of the sentence.
_WRONG = {
    "a: 1\nb: 2\na: 3": (3, "'a' is there twice (first in line 1)"),
    "x:\n  b: 1\n  'b': 2": (3, "'b' is there twice"),
    "x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x": (4, "there twice"),
    "a: 1\nb: 2001-99-99": (2, "read as a date"),
    "a: 2001-01-01": (1, "read as a date"),
    "a: 1\n2: b": (2, "the key '2' is no text"),
    "yes: b": (1, "the key 'yes' is no text"),
    "~: b": (1, "the key '~' is no text"),
    "a:\n  ? [1, 2]\n  : b": (2, "no text"),
    "a: " + "9" * 5000: (1, "is no int"),
    "a: 0x" + "f" * 5000: (1, "too large"),
    "a: 1.0e+999": (1, "no number that can be worked with"),
    "a: .nan": (1, "no number that can be worked with"),
    "a: " + "[" * 100_000: (1, "deeper than 64"),
    "{" * 100_000: (1, "deeper than 64"),
    "- " * 50_000 + "a": (1, "deeper than 64"),
    _ALIASES: (5, "more than 100000 values"),
    _MERGES: (11, "more than 100000 values"),
    "a: &a\n  - *a": (1, "holds itself"),
    "a: 1\nb: *c": (2, "*c names no anchor"),
    "a: !!python/object/apply:os.system [ls]": (1, "!!python/object/apply:os.system"),
    "a: !!binary aGVsbG8=": (1, "!!binary"),
    "a: !mine 5": (1, "!mine"),
    "a: !!int five": (1, "'five' is no int"),
    "a: !!bool five": (1, "'five' is no bool"),
    "a: !!int ''": (1, "is no int"),
    "a: 1\n---\nb: 2": (2, "another document"),
    "a:\n\tb: 1": (2, "\\t"),
    "a: 1\nb: [1, 2": (2, "expected ',' or ']'"),
    'a: "\\0"': (1, "U+0000"),
    'a: "\\ud800"': (1, "U+0000, or half a surrogate"),
    "a: b\nc: \x07": (2, "U+0007"),
}


@pytest.mark.parametrize("text", _WRONG, ids=lambda text: text[:25].replace("\n", "|"))
def test_what_is_refused_names_the_file_and_the_line_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8", newline="\n")
    line, words = _WRONG[text]
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert caught.value.where == f"{path}:{line}"
    assert words in caught.value.what
    assert "\n" not in caught.value.what
    assert len(caught.value.what) < 300


def test_a_file_that_is_not_utf_8_is_refused_with_the_line_of_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("a: 1\n# Größe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config\.yaml:2: is not UTF-8 \(byte 0xf6\)"):
        load_yaml(path)
    path.write_text("a: 1", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"config\.yaml:1: is not UTF-8"):
        load_yaml(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("# nothing\n", "is empty"), ("- a\n", "holds a list"), ("a", "holds a single value")],
)
def test_a_file_without_sections_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"config.yaml: {words}"):
        load_yaml(path)


def test_a_file_that_is_too_long_and_a_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"a: 1\n" + b"#" * (1 << 20))
    with pytest.raises(ConfigError, match="longer than 1 MiB"):
        load_yaml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")


def test_plain_values_read_as_pyyaml_reads_them() -> None:
    text = """
    text: a, b
    quoted: "2001-01-01"
    whole: -5
    float: 1.0e-4
    none:
    truth: [yes, off, true]
    base: &base {a: 1, b: [1, 2]}
    child: &child
      <<: *base
      a: 2
    grandchild:
      <<: *child
      a: 3
    again: [*base, *base]
    '5': five
    block: |
      one
      two
    infinite: .inf
    """
    assert parse_yaml(text, where="it") == yaml.safe_load(text)


def test_every_shipped_config_reads_as_pyyaml_reads_it() -> None:
    root = Path(__file__).parents[1]
    configs = [*(root / "configs").rglob("*.yaml"), *(root / "gaitext").rglob("*.yaml")]
    assert len(configs) > 40
    for path in configs:
        assert load_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_an_error_of_a_section_is_told_with_the_file_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("one:\n  two:\n  - a\n  - three: 5\n", encoding="utf-8")
    for place, line in (("one.two[1].three", 4), ("one.two[0]", 3), ("one.four", 1), ("none", None)):
        with pytest.raises(ConfigError) as caught, naming_file(path):
            raise ConfigError("is wrong", where=place)
        assert caught.value.where == (f"{path}:{line}: {place}" if line else f"{path}: {place}")
    with pytest.raises(ConfigError, match=r"config\.yaml:2: one: unknown key 'one\.two'"), naming_file(path):
        raise ConfigError("unknown key 'one.two'", where="one")
