"""Joins the fragments of `changelog.d` into `CHANGELOG.md` under a version, and removes them."""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("added", "changed", "fixed", "removed")
FRAGMENT = re.compile(r"(?P<id>[a-z0-9][a-z0-9-]*)\.(?P<kind>" + "|".join(KINDS) + r")\.md")
MARKER = "<!-- releases -->\n"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+\S*", arguments[0]):
        print(f"changelog: expected one version such as 0.2.0, got {arguments!r}; run: make changelog VERSION=0.2.0")
        return 2
    fragments = sorted(path for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md")
    if problems := [problem for path in fragments if (problem := problem_with(path))]:
        print("\n".join(problems))
        return 1
    if not fragments:
        print("changelog: changelog.d holds no fragment, so there is nothing to release")
        return 1
    changelog = ROOT / "CHANGELOG.md"
    changelog.write_text(with_release(changelog.read_text(), arguments[0], datetime.now(UTC).date(), fragments))
    for path in fragments:
        path.unlink()
    print(f"changelog: {len(fragments)} fragments joined under {arguments[0]}")
    return 0


def problem_with(path: Path) -> str | None:
    if not FRAGMENT.fullmatch(path.name):
        return f"changelog.d/{path.name}: rename it to <id>.<{'|'.join(KINDS)}>.md"
    if not path.read_text().strip():
        return f"changelog.d/{path.name}: write one sentence for users"
    return None


def with_release(changelog: str, version: str, day: date, fragments: Iterable[Path]) -> str:
    """The changelog with the new release on top of the earlier ones."""
    before, marker, after = changelog.partition(MARKER)
    if not marker:
        raise SystemExit(f"CHANGELOG.md lacks the line {MARKER.strip()!r} under which releases are put")
    if f"\n## {version} " in after:
        raise SystemExit(f"CHANGELOG.md has a release {version!r} already")
    entries: dict[str, list[str]] = defaultdict(list)
    for path in fragments:
        kind = path.name.split(".")[-2]
        entries[kind].append("- " + " ".join(path.read_text().split()))
    sections = [f"### {kind.capitalize()}\n\n" + "\n".join(entries[kind]) for kind in KINDS if kind in entries]
    return before + marker + "\n" + "\n\n".join([f"## {version} ({day.isoformat()})", *sections]) + "\n" + after


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
