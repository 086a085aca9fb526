"""Write the JSON schema of every project file to docs/reference/schemas/. Run it after a schema has changed."""

import json
from pathlib import Path

from handrail.flows.schemas import project_schemas

FOLDER = Path(__file__).parent.parent / "docs" / "reference" / "schemas"


def rendered() -> dict[Path, str]:
    """The files as they have to be."""
    return {
        FOLDER / f"{name.removesuffix('.yaml')}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in project_schemas().items()
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in rendered().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(FOLDER.parent.parent.parent))


if __name__ == "__main__":
    main()
