import os
from pathlib import Path

import pytest

from handrail.core.documents import ProjectError
from handrail.delivery.releases import Sources, read_sources
from handrail.delivery.releases import sources as module

REQUIRED = {"agent.yaml": "name: shop\n", "instructions.md": "Be kind.\n", "intents.yaml": "intents: {}\n"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write(folder, REQUIRED)
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())


def problems(folder: Path) -> str:
    with pytest.raises(ProjectError) as error:
        read_sources(folder)
    return str(error.value)


class TestRead:
    def test_takes_the_files_of_a_project_and_no_others(self, project: Path):
        ours = {
            "policies.yaml",
            "tools.py",
            "lib/orders.py",
            "flows/refund.yaml",
            "tests/first.yaml",
            "knowledge/faq.md",
            "knowledge/legal/terms.md",
            "requirements.lock",
        }
        others = {
            "README.md",
            "notes.yaml",
            ".env",
            ".venv/x.py",
            "env2/pyvenv.cfg",
            "env2/x.py",
            "tests/test_tools.py",
            "conftest.py",
            "lib/orders_test.py",
            "__pycache__/tools.py",
            "knowledge/picture.png",
            "data/orders.json",
        }
        write(project, dict.fromkeys(ours | others, "x = 1\n"))
        assert set(read_sources(project).files) == ours | REQUIRED.keys()

    def test_says_which_required_files_are_missing_and_how_to_begin(self, project: Path):
        (project / "agent.yaml").unlink()
        (project / "instructions.md").unlink()
        said = problems(project).splitlines()
        assert [line.partition(":")[0] for line in said] == ["agent.yaml", "instructions.md"]
        assert "handrail init" in said[0]

    def test_says_that_the_folder_is_missing(self, tmp_path: Path):
        assert "there is no such folder" in problems(tmp_path / "nowhere")

    def test_refuses_a_file_of_more_than_a_megabyte(self, project: Path):
        write(project, {"knowledge/all.md": "x" * 1_000_001})
        assert problems(project).startswith("knowledge/all.md: has 1.0 MB")

    def test_takes_a_file_of_exactly_a_megabyte(self, project: Path):
        write(project, {"knowledge/all.md": "x" * 1_000_000})
        assert "knowledge/all.md" in read_sources(project).files

    def test_refuses_more_files_than_a_release_holds(self, project: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "MOST_FILES", 3)
        write(project, {"tools.py": ""})
        assert "too large" in problems(project)

    def test_refuses_what_is_not_utf8(self, project: Path):
        (project / "tools.py").write_bytes(b"name = '\xff'")
        assert problems(project).startswith("tools.py: is not UTF-8")

    @pytest.mark.parametrize("path", ["agent.yml", "flows/refund.yml"])
    def test_names_files_that_a_spelling_would_hide(self, project: Path, path: str):
        write(project, {path: "x"})
        assert problems(project) == f"{path}: ends in '.yml' and would not be read; rename it to '.yaml'"

    def test_names_every_file_with_a_problem(self, project: Path):
        (project / "tools.py").write_bytes(b"\xff")
        (project / "policies.yaml").write_bytes(b"\xff")
        assert len(problems(project).splitlines()) == 2


class TestLinks:
    def test_refuses_a_link_that_leads_out_of_the_folder(self, project: Path, tmp_path: Path):
        (tmp_path / "secret.md").write_text("secret")
        (project / "knowledge").mkdir()
        (project / "knowledge/faq.md").symlink_to(tmp_path / "secret.md")
        assert problems(project).startswith("knowledge/faq.md: is a link that leads out of the project")

    def test_follows_a_link_inside_the_folder(self, project: Path):
        write(project, {"knowledge/faq.md": "text"})
        (project / "knowledge/copy.md").symlink_to(project / "knowledge/faq.md")
        assert read_sources(project).files["knowledge/copy.md"] == b"text"

    def test_refuses_linked_folders_that_hide_project_files_and_no_others(self, project: Path, tmp_path: Path):
        (tmp_path / "data").mkdir()
        (project / "data").symlink_to(tmp_path / "data")
        assert set(read_sources(project).files) == set(REQUIRED)
        (tmp_path / "flows").mkdir()
        (project / "flows").symlink_to(tmp_path / "flows")
        assert problems(project).startswith("flows: is a link to a folder")

    def test_reads_a_project_that_is_itself_behind_a_link(self, project: Path, tmp_path: Path):
        (tmp_path / "link").symlink_to(project)
        assert read_sources(tmp_path / "link").digest == read_sources(project).digest


class TestChangeWhileReading:
    def test_is_noticed_between_the_two_readings(self, project: Path, monkeypatch: pytest.MonkeyPatch):
        real = module._read  # pyright: ignore

        def read_then_save(root: Path) -> dict[str, bytes]:
            files = real(root)
            write(project, {"tools.py": "x = 1\n", "agent.yaml": "name: other\n"})
            return files

        monkeypatch.setattr(module, "_read", read_then_save)
        assert problems(project).splitlines() == [
            "agent.yaml: changed while it was read; finish saving and try again",
            "tools.py: changed while it was read; finish saving and try again",
        ]

    def test_is_noticed_within_one_file(self, project: Path, monkeypatch: pytest.MonkeyPatch):
        real = Path.read_bytes

        def read_then_save(self: Path) -> bytes:
            content = real(self)
            if self.name == "agent.yaml":
                os.utime(self, ns=(1, 1))
            return content

        monkeypatch.setattr(Path, "read_bytes", read_then_save)
        assert problems(project) == "agent.yaml: changed while it was read; finish saving and try again"


class TestDigest:
    def test_is_the_same_for_the_same_files_in_any_order(self):
        assert Sources({"a": b"1", "b": b"2"}).digest == Sources({"b": b"2", "a": b"1"}).digest

    @pytest.mark.parametrize(
        "other", [{"a": b"1"}, {"a": b"1", "b": b"3"}, {"a": b"1", "c": b"2"}, {"a": b"12", "b": b""}]
    )
    def test_differs_for_any_other_files(self, other: dict[str, bytes]):
        assert Sources({"a": b"1", "b": b"2"}).digest != Sources(other).digest

    def test_differs_for_another_format_version(self):
        assert Sources({}, 1).digest != Sources({}, 2).digest

    def test_gives_the_release_its_id(self):
        sources = Sources({"a": b"1"})
        assert sources.release_id == "rel_" + sources.digest[:16]

    def test_does_not_depend_on_line_ends_or_a_byte_order_mark(self, project: Path):
        before = read_sources(project).digest
        (project / "agent.yaml").write_bytes(b"\xef\xbb\xbfname: shop\r\n")
        assert read_sources(project).digest == before

    def test_stays_the_same_from_version_to_version(self):
        # Ids of stored releases rest on it: a change here needs a new FORMAT_VERSION.
        assert Sources({"agent.yaml": b"name: shop\n"}, 1).release_id == "rel_7f0d205c7f3602d2"


class TestLockHash:
    def test_is_that_of_the_lock_file_before_the_requirements(self):
        both = Sources({"requirements.lock": b"a", "requirements.txt": b"b"})
        assert both.lock_hash == Sources({"requirements.lock": b"a"}).lock_hash
        assert both.lock_hash != Sources({"requirements.txt": b"b"}).lock_hash

    def test_is_none_without_either(self):
        assert Sources({}).lock_hash is None
