"""The bill of materials and the audit read the lock, whole and nothing else."""

import json
import tomllib
from pathlib import Path

import pytest

from scripts import audit, sbom
from scripts.lock_file import Pin, pins

ROOT = Path(__file__).parent.parent.parent
PROJECT = {"name": "handrail", "version": "1.2.3", "license": "Apache-2.0"}
LOCKED = [Pin("one", "1.0", "", ("a" * 64,)), Pin("two", "2.0", "sys_platform != 'win32'", ("b" * 64, "c" * 64))]


def lock(folder: Path, text: str) -> Path:
    path = folder / "requirements.lock"
    path.write_text(text)
    return path


def test_every_package_of_the_lock_is_in_the_bill_with_its_hashes() -> None:
    locked = pins(ROOT / "requirements.lock")
    found = sbom.bill(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"], locked)
    assert {each["name"] for each in found["components"]} == {pin.name for pin in locked}
    assert all(each["externalReferences"][0]["hashes"] for each in found["components"])
    wanted = {line.split(">=")[0].split("==")[0].strip() for line in dependencies()}
    assert wanted <= {each["name"] for each in found["components"]}


def dependencies() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def test_the_bill_is_the_same_for_the_same_lock_and_another_for_another() -> None:
    same, other = sbom.bill(PROJECT, LOCKED), sbom.bill(PROJECT, LOCKED[:1])
    assert json.dumps(same) == json.dumps(sbom.bill(PROJECT, LOCKED))
    assert same["serialNumber"] != other["serialNumber"]


def test_the_bill_says_what_stands_under_what() -> None:
    found = sbom.bill(PROJECT, LOCKED)
    assert found["metadata"]["component"]["purl"] == "pkg:pypi/handrail@1.2.3"
    assert found["dependencies"][0]["dependsOn"] == ["pkg:pypi/one@1.0", "pkg:pypi/two@2.0"]
    assert found["components"][1]["properties"] == [{"name": "handrail:marker", "value": "sys_platform != 'win32'"}]


def test_a_pin_without_a_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="without a hash: two"):
        pins(lock(tmp_path, f"one==1.0 \\\n    --hash=sha256:{'a' * 64}\ntwo==2.0\n"))


def test_a_line_that_is_no_pin_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"requirements.lock:1: .*--index-url"):
        pins(lock(tmp_path, "--index-url somewhere\n"))


def test_the_audit_asks_for_exactly_what_is_locked() -> None:
    asked = tomllib.loads(audit.project(LOCKED))
    assert asked["project"]["dependencies"] == ["one==1.0", "two==2.0 ; sys_platform != 'win32'"]


def test_the_audit_says_the_error_and_not_the_warning_before_it() -> None:
    assert audit.reason("warning: experimental\nerror: no answer\n cause: dns") == "error: no answer"
