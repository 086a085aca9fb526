"""The runbook of alerts as the console shows it: the documentation's own file, in the few forms it is written in."""

import re
from dataclasses import dataclass
from pathlib import Path

import handrail

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")


@dataclass(frozen=True, slots=True)
class Block:
    """One part of the page: a heading (with its anchor), a paragraph, a list or an example."""

    kind: str
    text: str = ""
    items: tuple[str, ...] = ()


def runbook() -> list[Block]:
    """Shipped inside the wheel, or in the documents of a checkout."""
    package = Path(handrail.__file__).parent
    shipped = package / "_runbooks" / "alerts.md"
    path = shipped if shipped.exists() else package.parent.parent / "docs" / "runbooks" / "alerts.md"
    return blocks(path.read_text())


def blocks(text: str) -> list[Block]:
    """The parts of a document that are parted by empty lines."""
    return [_block(part) for part in re.split(r"\n{2,}", text.strip())]


def _block(part: str) -> Block:
    if part.startswith("```"):
        return Block("code", part.partition("\n")[2].rpartition("\n")[0])
    if heading := re.match(r"(#+) +(.+)", part):
        return Block("title" if len(heading[1]) == 1 else "heading", heading[2])
    kind = "numbers" if re.match(r"\d+\. ", part) else "points" if part.startswith("- ") else "paragraph"
    if kind == "paragraph":
        return Block(kind, _plain(part))
    items = re.split(r"^(?:\d+\.|-) +", part, flags=re.MULTILINE)[1:]
    return Block(kind, items=tuple(_plain(each) for each in items))


def _plain(text: str) -> str:
    """One line, with `code` as it is; links are named, since the page stands alone."""
    text = _LINK.sub(lambda link: link[1], " ".join(text.split()))
    return _BOLD.sub(lambda bold: bold[1], text)
