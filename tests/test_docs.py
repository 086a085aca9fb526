"""The documents keep their promises: links lead somewhere, examples parse, commands exist, decisions are whole."""

import ast
import importlib
import json
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from fastapi.routing import APIRoute
from pydantic import BaseModel

import handrail
from handrail.cli.app import app
from handrail.core import events
from handrail.core.errors import HandrailError
from handrail.delivery.releases import Loader, Sources
from handrail.flows.project import check
from handrail.flows.readiness import OFF
from handrail.http.errors import STATUS
from handrail.http.routes import agents, chat_completions, conversations, health, keys, releases
from handrail.settings import Settings
from handrail.telemetry.metrics import Metrics

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


REFERENCE = ROOT / "docs/reference"
GUIDE = ROOT / "docs/guide.md"
FILE_FENCE = re.compile(r'^```\w+ title="(?P<path>[^"]+)"\n(?P<content>.*?)^```', re.MULTILINE | re.DOTALL)
# Not errors that were raised, so no class carries them: how a turn or a tool call ended.
ENDINGS = {
    *("agent_failed", "cancelled", "confirmation_changed", "too_many_owners"),
    *("rejected", "approval_expired", "changed", "untraced_arguments", "instructions_leaked", "unknown_token"),
    *("unknown_job", "disk_error"),
    *("model_answer_too_long", "model_content_filter"),
    *("no_such_tool", "timeout", "tool_failed", "tools_busy", "unknown"),
}


def first_cells(document: Path) -> list[list[str]]:
    """The cells of every table row that begins with a name in backticks; the name without them."""
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", document.read_text(), re.MULTILINE)
    return [[name, *(cell.strip() for cell in rest.split(" | "))] for name, rest in rows]


def settings_by_variable(model: type[BaseModel], prefix: str = "HANDRAIL_") -> Iterator[tuple[str, object]]:
    """Each environment variable with the default of its setting."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings_by_variable(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), field.default


def commands(command: Any, path: tuple[str, ...] = ("handrail",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by what one types."""
    inside = getattr(command, "commands", None)
    if inside is None:
        yield " ".join(path), command
    else:
        for name, each in inside.items():
            yield from commands(each, (*path, name))


def all_commands() -> dict[str, Any]:
    return dict(commands(typer.main.get_command(app)))


def options_of(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def error_classes(family: type[HandrailError]) -> Iterator[type[HandrailError]]:
    for error in family.__subclasses__():
        yield error
        yield from error_classes(error)


def command_lines() -> Iterator[tuple[Block, list[str]]]:
    """Every command line of the `sh` examples, continued lines joined."""
    for block in blocks("sh"):
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield block, words


class TestReference:
    def test_settings_and_their_defaults_are_those_of_the_code(self) -> None:
        text = (REFERENCE / "settings.md").read_text()
        server, elsewhere = text.partition("## Read elsewhere")[::2]
        documented = dict(re.findall(r"^\| `(HANDRAIL_\w+)` \| (?:`([^`]*)`|none) \|", server, re.MULTILINE))
        real = {name: "" if default is None else str(default) for name, default in settings_by_variable(Settings)}
        assert documented == real
        assert set(re.findall(r"^\| `(HANDRAIL_\w+)`", elsewhere, re.MULTILINE)).isdisjoint(real)

    def test_metrics_are_those_of_the_metrics_page(self) -> None:
        page = Metrics().render().decode()
        real = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
        documented = {row[0]: row[1] for row in first_cells(REFERENCE / "metrics.md")}
        assert documented == real

    def test_events_are_those_of_the_code(self) -> None:
        real = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}
        documented = {row[0] for row in first_cells(REFERENCE / "events.md") if "." in row[0]}
        assert documented == real

    def test_errors_are_those_of_the_code(self) -> None:
        for module in pkgutil.walk_packages(handrail.__path__, "handrail."):
            if "scaffold" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        shipped = [each for each in error_classes(HandrailError) if each.__module__.startswith("handrail.")]
        codes = {each.code for each in shipped} | set(STATUS)
        documented = {row[0] for row in first_cells(REFERENCE / "errors.md")}
        assert documented == codes | ENDINGS

    def test_the_status_of_an_error_is_the_one_it_has(self) -> None:
        rows = [row for row in first_cells(REFERENCE / "errors.md") if row[1].isdigit()]
        assert {row[0]: int(row[1]) for row in rows} == STATUS

    @pytest.mark.parametrize("code", sorted(ENDINGS))
    def test_an_ending_without_a_class_is_still_in_the_code(self, code: str) -> None:
        sources = (ROOT / "src/handrail").rglob("*.py")
        assert any(f'"{code}"' in source.read_text() for source in sources)

    def test_commands_are_those_of_the_command_line(self) -> None:
        documented = re.findall(r"^### (handrail .+)$", (REFERENCE / "cli.md").read_text(), re.MULTILINE)
        assert sorted(documented) == sorted(all_commands())

    def test_each_command_names_all_its_options_and_no_others(self) -> None:
        sections = re.split(r"^### ", (REFERENCE / "cli.md").read_text(), flags=re.MULTILINE)[1:]
        for section in sections:
            name = section.partition("\n")[0]
            named = set(re.findall(r"--[a-z][a-z-]+", section))
            assert named == options_of(all_commands()[name]) - {"--help"}, name


class TestExamples:
    def test_every_handrail_command_exists_with_its_options(self) -> None:
        known = all_commands()
        wrong: list[str] = []
        for block, words in command_lines():
            if Path(words[0]).name != "handrail":
                continue
            arguments = [word for word in words[1:] if not word.startswith("-")]
            found = known.get(f"handrail {' '.join(arguments[:2])}") or known.get(f"handrail {' '.join(arguments[:1])}")
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            if found is None or not options <= options_of(found):
                wrong.append(f"{block}: {' '.join(words)}")
        assert wrong == []

    def test_every_request_goes_to_a_route_that_exists(self) -> None:
        routes = [
            (method, re.sub(r"\{\w+\}", "[^/]+", route.path))
            for module in (agents, chat_completions, conversations, health, keys, releases)
            for route in module.router.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        ]
        wrong: list[str] = []
        for block, words in command_lines():
            if words[0] != "curl":
                continue
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            path = next(word for word in words if word.startswith("localhost:8080")).removeprefix("localhost:8080")
            if not any(method == other and re.fullmatch(pattern, path) for other, pattern in routes):
                wrong.append(f"{block}: {method} {path}")
        assert wrong == []

    def test_the_project_of_the_guide_can_be_released(self) -> None:
        files = {found["path"]: found["content"].encode() for found in FILE_FENCE.finditer(GUIDE.read_text())}
        project = check(Sources(files), Loader())
        assert {path.partition("/")[0] for path in files} == {
            *("agent.yaml", "instructions.md", "intents.yaml", "flows", "tools.py"),
            *("knowledge", "policies.yaml", "tests"),
        }
        assert set(project.tools) == {"my_loans", "find_loan", "renew"}

    def test_every_yaml_example_of_the_guide_is_a_file_of_its_project(self) -> None:
        yaml_blocks = [block for block in blocks("yaml") if block.document == GUIDE]
        assert len(yaml_blocks) == sum(
            found["path"].endswith(".yaml") for found in FILE_FENCE.finditer(GUIDE.read_text())
        )


def test_the_status_page_and_readiness_agree_on_what_is_off() -> None:
    page = (ROOT / "docs/status.md").read_text()
    rows = re.findall(r"^\| (\w+) \|", page[page.index("## Off") :], re.MULTILINE)
    assert sorted(set(rows) - {"part"}) == sorted(OFF)


class TestSecurity:
    """docs/security.md: each control names a room and a test that exist, and no risk of the two lists is left out."""

    CONTROLS = (ROOT / "docs/security.md").read_text().partition("## Controls")[2].partition("\n## ")[0]
    ROWS = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in CONTROLS.splitlines()
        if line.startswith("| ") and not line.startswith("| control")
    ]

    def test_every_control_names_a_room_and_a_proof_that_exist(self) -> None:
        missing: list[str] = []
        for _, rooms, proofs, *_ in self.ROWS:
            places, tests = re.findall(r"`([^`]+)`", rooms), re.findall(r"`([^`]+)`", proofs)
            assert places
            assert tests
            missing += [
                place for place in places if not (ROOT / "src/handrail" / place).exists() and place != "scripts"
            ]
            missing += [test for test in tests if not (ROOT / test).exists()]
        assert missing == []

    def test_every_parser_of_untrusted_input_names_its_code_and_a_test_that_throws_anything_at_it(self) -> None:
        section = (ROOT / "docs/security.md").read_text().partition("## Parsers of untrusted input")[2]
        rows = re.findall(r"^\| (.+) \| `(\S+)` \| `(\S+)` \|$", section.partition("\n## ")[0], re.MULTILINE)
        assert len(rows) >= 20
        assert [place for _, place, _ in rows if not (ROOT / "src/handrail" / place).exists()] == []
        generates = re.compile(r"@given|as_strategy")
        assert [test for *_, test in rows if not generates.search((ROOT / test).read_text())] == []

    def test_every_risk_of_the_two_lists_has_a_control_or_is_said_to_have_none(self) -> None:
        risks = {f"{kind}{number:02}" for kind in ("LLM", "ASI") for number in range(1, 11)}
        held = {code for row in self.ROWS for code in row[3].split()}
        bare = set(re.findall(r"(?:LLM|ASI)\d\d", self.CONTROLS.partition("**No control yet**")[2]))
        assert held | bare == risks
        assert not held & bare
