import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from handrail.cli.init import init, scaffold
from handrail.core.errors import UsageError
from handrail.delivery.releases import Loader, read_sources
from handrail.flows.project import check
from handrail.protection.guardrails import Detector, InputGuardrail, judge
from handrail.serving.context import Knowledge

app = Typer()
app.command()(init)


class TestInit:
    def test_makes_a_project_without_a_problem(self, tmp_path: Path):
        result = CliRunner().invoke(app, [str(tmp_path / "my-agent")])
        assert result.exit_code == 0, result.output
        assert f"handrail serve --project {tmp_path / 'my-agent'}" in result.output
        assert check(read_sources(tmp_path / "my-agent"), Loader()).config.name == "my-agent"

    def test_says_what_its_offline_model_costs_and_what_the_model_does_not_read(self, tmp_path: Path):
        scaffold(tmp_path / "my-agent")
        project = check(read_sources(tmp_path / "my-agent"), Loader())
        assert project.models["offline"].price == "free"
        assert "privacy:" in (tmp_path / "my-agent" / "policies.yaml").read_text()

    def test_has_no_knowledge_that_reads_like_instructions(self, tmp_path: Path):
        scaffold(tmp_path / "my-agent")
        sources = read_sources(tmp_path / "my-agent")
        project, detector = check(sources, Loader()), Detector()
        guardrails = [InputGuardrail(project.policies.guardrails)]
        knowledge = Knowledge.build({path: sources.text(path) for path in sources.under("knowledge", ".md")}, None)
        assert knowledge.passages
        assert knowledge.marked(lambda text: bool(judge(detector, guardrails, text, "tool").tripped)) == []

    def test_names_the_agent_after_the_folder(self, tmp_path: Path):
        assert scaffold(tmp_path / "My_Agent 2") == "my-agent-2"
        assert "# my-agent-2" in (tmp_path / "My_Agent 2" / "README.md").read_text()

    def test_leaves_no_placeholder_behind(self, tmp_path: Path):
        scaffold(tmp_path / "my-agent")
        texts = [path.read_text() for path in (tmp_path / "my-agent").rglob("*") if path.is_file()]
        assert len(texts) >= 12
        assert not [text for text in texts if "AGENT_NAME" in text]

    def test_keeps_data_and_caches_out_of_git(self, tmp_path: Path):
        scaffold(tmp_path / "my-agent")
        assert ".handrail/" in (tmp_path / "my-agent" / ".gitignore").read_text()
        assert not list((tmp_path / "my-agent").rglob("__pycache__"))

    def test_fills_an_empty_folder(self, tmp_path: Path):
        (tmp_path / "my-agent").mkdir()
        assert scaffold(tmp_path / "my-agent") == "my-agent"

    def test_refuses_a_folder_with_files_and_leaves_them_alone(self, tmp_path: Path):
        (tmp_path / "my-agent").mkdir()
        (tmp_path / "my-agent" / "agent.yaml").write_text("mine")
        with pytest.raises(UsageError, match="is not empty"):
            scaffold(tmp_path / "my-agent")
        assert [path.name for path in (tmp_path / "my-agent").iterdir()] == ["agent.yaml"]

    def test_refuses_a_file_of_that_name(self, tmp_path: Path):
        (tmp_path / "my-agent").write_text("")
        with pytest.raises(UsageError, match="is not empty"):
            scaffold(tmp_path / "my-agent")

    @pytest.mark.parametrize("name", ["1st", "agent!", "äöü"])
    def test_refuses_names_that_an_agent_cannot_have(self, tmp_path: Path, name: str):
        with pytest.raises(UsageError, match="can't be an agent's name"):
            scaffold(tmp_path / name)
        assert not (tmp_path / name).exists()


class TestScaffold:
    def test_has_tools_that_are_called_as_plain_functions(self, tmp_path: Path):
        scaffold(tmp_path / "my-agent")
        project = check(read_sources(tmp_path / "my-agent"), Loader())
        assert [tool.effect for tool in project.tools.values()] == ["read", "read", "write"]
        assert project.intents is not None
        assert [len(intent.examples) >= 12 for intent in project.intents.intents] == [True] * 5

    def test_has_readable_schema_messages_for_models(self, tmp_path: Path):
        scaffold(tmp_path / "my-agent")
        renew = check(read_sources(tmp_path / "my-agent"), Loader()).tools["renew"]
        assert json.loads(json.dumps(renew.definition))["function"]["parameters"]["properties"] == {
            "loan_number": {"type": "string", "description": "the number on the receipt, such as L101"}
        }
