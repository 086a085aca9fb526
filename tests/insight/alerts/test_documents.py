"""The runbook and the reference know every rule, and the example of the reference is a good file."""

import re
from pathlib import Path

from handrail.core.documents import parse_yaml, validate
from handrail.insight.alerts import RULES, AlertsFile

DOCS = Path(__file__).parents[3] / "docs"


def test_every_rule_has_its_page_in_the_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", (DOCS / "runbooks/alerts.md").read_text(), re.MULTILINE)
    assert headings == [*RULES, "database"]


def test_every_rule_is_in_the_reference() -> None:
    text = (DOCS / "reference/alerts.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(RULES)


def test_the_example_is_a_good_file() -> None:
    text = (DOCS / "reference/alerts.md").read_text()
    (example,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    file = validate(parse_yaml("alerts.yaml", example), AlertsFile)
    assert file.routes[0].escalate is not None
