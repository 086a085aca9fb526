"""The documents keep their promises: links lead somewhere, examples parse, commands exist, decisions are whole."""

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("examples/**/*.md")]
)
RECORDS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"(?<!\\)\]\((?P<target>[^()\s]+)(?: \"[^\"]*\")?\)")


class Block(NamedTuple):
    document: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    found: list[Block] = []
    for document in DOCUMENTS:
        text = document.read_text()
        for fence in FENCE.finditer(text):
            if fence["language"] in languages:
                code = re.sub(f"^{fence['indent']}", "", fence["code"], flags=re.MULTILINE)
                found.append(Block(document, text.count("\n", 0, fence.start()) + 1, fence["language"], code))
    return found


def prose(document: Path) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", document.read_text()))


def anchors(document: Path) -> set[str]:
    """The addresses that headings get on the usual code hosts."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(document: Path) -> None:
    broken: list[str] = []
    for link in LINK.finditer(prose(document)):
        target, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (document.parent / target).resolve() if target else document
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(link["target"])
    assert broken == []


def test_every_python_example_parses() -> None:
    for block in blocks("python"):
        ast.parse(block.code, filename=str(block))


def test_every_yaml_example_parses() -> None:
    for block in blocks("yaml", "yml"):
        try:
            list(yaml.safe_load_all(block.code))
        except yaml.YAMLError as error:
            pytest.fail(f"{block}: {error}")


def test_every_json_example_parses() -> None:
    for block in blocks("json"):
        try:
            json.loads(block.code)
        except ValueError as error:
            pytest.fail(f"{block}: {error}")


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(document.relative_to(ROOT)), target)
        for document in DOCUMENTS
        for target in re.findall(r"(?:`|^ *(?:\$ )?)make ([a-z-]+)", document.read_text(), re.MULTILINE)
    }
    assert {(document, target) for document, target in named if target not in targets} == set()


class TestDecisions:
    def test_the_first_ones_are_there(self) -> None:
        assert [record.name[:4] for record in RECORDS] == [f"{number:04}" for number in range(1, len(RECORDS) + 1)]
        assert len(RECORDS) >= 5

    @pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
    def test_each_has_its_sections_in_order(self, record: Path) -> None:
        headings = re.findall(r"^## (.+)$", record.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives", "References"]
        assert re.match(rf"# {int(record.name[:4])}\. \S", record.read_text()), "the title is '# <number>. <title>'"

    def test_every_run_time_dependency_has_its_reason(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        names = {re.split(r"[^\w-]", text, maxsplit=1)[0] for text in project["project"]["dependencies"]}
        record = (ROOT / "docs/decisions/0002-runtime-dependencies.md").read_text()
        explained = set(re.findall(r"^\| `([\w-]+)`", record, re.MULTILINE))
        assert names == explained
