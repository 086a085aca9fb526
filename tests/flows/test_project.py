"""A project with mistakes in every file, and what is said about them."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from handrail.cli.init import scaffold
from handrail.core.documents import ProjectError
from handrail.core.errors import UsageError
from handrail.delivery.releases import Loader, Sources, read_sources
from handrail.flows.project import CheckedProject, check
from handrail.flows.schemas import project_schemas, schema_of
from scripts.schemas import rendered

Files = dict[str, str]


@pytest.fixture(scope="module")
def scaffolded(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("init") / "library-agent"
    scaffold(folder)
    return read_sources(folder)


def changed(sources: Sources, **replaced: str | None) -> Sources:
    """The scaffold with other files; `flows__x` is `flows/x.yaml`, `tools` is `tools.py`, None takes one away."""
    files: dict[str, bytes] = dict(sources.files)
    for name, text in replaced.items():
        suffix = ".py" if name in ("tools", "library") else ".md" if name == "instructions" else ".yaml"
        path = name.replace("__", "/") + suffix
        files.pop(path, None)
        if text is not None:
            files[path] = text.encode()
    return Sources(files)


def run(sources: Sources) -> CheckedProject:
    return check(sources, Loader())


def problems(sources: Sources) -> list[str]:
    with pytest.raises(ProjectError) as error:
        run(sources)
    return str(error.value).splitlines()


def edited(sources: Sources, path: str, old: str, new: str) -> str:
    text = sources.text(path)
    assert old in text
    return text.replace(old, new, 1)


class TestCheck:
    def test_takes_the_scaffold_as_it_is(self, scaffolded: Sources):
        project = run(scaffolded)
        assert project.config.name == "library-agent"
        assert set(project.tools) == {"my_loans", "find_loan", "renew"}
        assert set(project.flows) == {"renew_loan", "talk_to_person"}
        assert project.models["large"].fallbacks == ["offline"]
        assert list(project.tests) == ["tests/first.yaml"]

    def test_tells_all_problems_of_all_files_in_order(self, scaffolded: Sources):
        broken = changed(
            scaffolded,
            agent="name: Library Agent\nmodels:\n  large:\n    provider: extractiv\n",
            instructions="You are {{ agnet.name }}.",
            policies="permissions:\n  renwe: {roles: [end_user]}\n",
            flows__talk_to_person="name: talk_to_person\nsteps:\n  - handof: {reason: x}\n",
            tests__first="name: x\nturns:\n  - user: hi\n    expect: {intent: no_such}\n",
        )
        said = problems(broken)
        assert [line.split(": ")[0] for line in said] == [
            "agent.yaml:1",
            "agent.yaml:4",
            "flows/talk_to_person.yaml:3",
            "policies.yaml:2",
            "tests/first.yaml:4",
        ]

    def test_names_the_line_of_a_category_that_nothing_falls_into(self, scaffolded: Sources):
        policies = "guardrails:\n  content:\n    profanity: allow\n    selfharm: escalate\n"
        (said,) = problems(changed(scaffolded, policies=policies))
        assert said.startswith("policies.yaml:4: nothing falls into the category 'selfharm'")

    def test_goes_on_to_the_instructions_when_the_agent_file_is_right(self, scaffolded: Sources):
        said = problems(changed(scaffolded, instructions="# Hi\n{{ agnet.name }}"))
        assert len(said) == 1
        assert said[0].startswith("instructions.md:2: 'agnet' is not known")

    def test_names_yaml_that_is_none_once(self, scaffolded: Sources):
        assert problems(changed(scaffolded, agent="name: [")) == [
            "agent.yaml:1: this is not valid YAML: expected the node content, but found '<stream end>'"
        ]

    @pytest.mark.parametrize(
        ("agent", "said"),
        [
            ("name: &a [*a]", "agent.yaml: this contains itself or is nested too deeply; write it out"),
            ("name: 2026-13-45", "agent.yaml:1: '2026-13-45' can't be read as timestamp; quote it"),
        ],
    )
    def test_names_yaml_that_cannot_be_turned_into_data(self, scaffolded: Sources, agent: str, said: str):
        assert problems(changed(scaffolded, agent=agent)) == [said]

    def test_places_problems_of_models_on_their_own_lines(self, scaffolded: Sources):
        agent = "name: a\nmodels:\n  large:\n    provider: extractive\n    fallbacks: [samll]\n    temprature: 1\n"
        assert problems(changed(scaffolded, agent=agent, instructions="Be kind.")) == [
            "agent.yaml:6: 'large.temprature' is not known here; remove it or check its spelling"
        ]
        (said,) = problems(changed(scaffolded, agent=agent.replace("    temprature: 1\n", ""), instructions="Be kind."))
        assert "falls back to 'samll', which is not a tier" in said

    def test_needs_the_default_model_among_the_models(self, scaffolded: Sources):
        agent = "name: a\nmodels:\n  small: {provider: extractive}\n"
        assert (
            "default_model 'large' is not among the models; use one of 'small'"
            in problems(changed(scaffolded, agent=agent))[0]
        )

    def test_answers_from_knowledge_alone_where_no_model_is_named(self, scaffolded: Sources):
        assert (
            run(changed(scaffolded, agent="name: a\n", instructions="Be kind.")).models["large"].provider
            == "extractive"
        )

    def test_names_the_line_of_a_tool_that_cannot_be_one(self, scaffolded: Sources):
        tools = edited(scaffolded, "tools.py", "def find_loan(loan_number: str,", "def find_loan(loan_number,")
        (said,) = problems(changed(scaffolded, tools=tools))
        assert said.startswith("tools.py:")
        assert "parameter 'loan_number' has no type" in said

    def test_does_not_blame_flows_for_tools_that_could_not_be_read(self, scaffolded: Sources):
        assert [line.partition(":")[0] for line in problems(changed(scaffolded, library=None))] == ["tools.py"]

    def test_names_intents_that_nothing_answers(self, scaffolded: Sources):
        intents = edited(scaffolded, "intents.yaml", "tool: my_loans", "tool: my_lones")
        said = problems(changed(scaffolded, intents=intents, flows__renew_loan=None))
        assert "flow 'renew_loan' does not exist; create it or use one of: 'talk_to_person'" in said[0]
        assert "tool 'my_lones' does not exist; create it or use one of: 'find_loan', 'my_loans', 'renew'" in said[1]

    def test_does_not_take_a_broken_flow_for_a_missing_one(self, scaffolded: Sources):
        flow = edited(scaffolded, "flows/renew_loan.yaml", "call: renew", "call: renwe")
        (said,) = problems(changed(scaffolded, flows__renew_loan=flow))
        assert "tool 'renwe' is not known" in said

    def test_refuses_an_intent_answered_by_a_tool_that_needs_arguments(self, scaffolded: Sources):
        intents = edited(scaffolded, "intents.yaml", "tool: my_loans", "tool: find_loan")
        (said,) = problems(changed(scaffolded, intents=intents))
        assert "tool 'find_loan' needs the argument 'loan_number'; answer the intent by a flow" in said

    def test_refuses_two_flows_of_one_name(self, scaffolded: Sources):
        other = edited(scaffolded, "flows/talk_to_person.yaml", "reason: The", "reason: This")
        (said,) = problems(changed(scaffolded, flows__another=other))
        assert said == "flows/talk_to_person.yaml:1: another flow is called 'talk_to_person' too; rename one of them"

    def test_names_tools_and_intents_of_tests_that_do_not_exist(self, scaffolded: Sources):
        test = "name: x\nturns:\n  - user: hi\n    expect:\n      tool: pay\n      intent: paying\n"
        said = problems(changed(scaffolded, tests__first=test))
        assert ["tool 'pay'" in said[0], "intent 'paying'" in said[1]] == [True, True]

    def test_refuses_a_test_that_expects_nothing(self, scaffolded: Sources):
        (said,) = problems(changed(scaffolded, tests__first="name: x\nturns:\n  - {user: hi, expect: {}}\n"))
        assert "expects nothing" in said

    def test_takes_a_project_without_intents_flows_and_tools(self, scaffolded: Sources):
        kept = {path: scaffolded.files[path] for path in ("agent.yaml", "instructions.md")}
        project = run(Sources(kept))
        assert (project.intents, project.tools, project.flows) == (None, {}, {})


class TestSchemas:
    def test_are_published_as_they_are(self):
        for path, text in rendered().items():
            assert path.read_text(encoding="utf-8") == text, f"{path.name} is old; run: python -m scripts.schemas"

    def test_accept_the_files_of_the_scaffold(self, scaffolded: Sources):
        for path in scaffolded.files:
            if path.endswith(".yaml"):
                assert jsonschema_rs.is_valid(schema_of(path), yaml.safe_load(scaffolded.text(path))), path

    def test_refuse_what_the_check_refuses(self):
        wrong: dict[str, Any] = {"name": "a", "models": {"large": {"provider": "extractiv"}}}
        assert not jsonschema_rs.is_valid(schema_of("agent.yaml"), wrong)
        assert not jsonschema_rs.is_valid(schema_of("policies.yaml"), {"permission": {}})

    def test_are_json(self):
        assert json.loads(json.dumps(project_schemas())) == project_schemas()

    def test_of_another_file_do_not_exist(self):
        with pytest.raises(UsageError, match=r"use one of: agent.yaml, intents.yaml"):
            schema_of("tools.py")


def test_the_shop_is_a_project_without_a_problem():
    project = run(read_sources(Path(__file__).parent.parent.parent / "examples" / "shop"))
    assert project.config.name == "shop"
