"""Every column of every table stands in one class, so that a new one is not forgotten."""

from importlib import import_module
from pathlib import Path

import pytest

import handrail
from handrail.db.metadata import metadata
from handrail.flows.data_classes import DATA_CLASSES, SEALED, Columns


@pytest.fixture(scope="module", autouse=True)
def declared() -> None:
    """The tables of all rooms, those included that nothing else loads by now."""
    source = Path(handrail.__file__).parent
    for path in source.rglob("tables.py"):
        import_module(".".join(("handrail", *path.relative_to(source).with_suffix("").parts)))


def _named(each: Columns) -> list[str]:
    return " ".join((each.technical, each.content, each.subject, each.staff, each.derived)).split()


def test_every_column_of_the_schema_stands_in_one_class() -> None:
    tables = {name: [column.name for column in table.columns] for name, table in metadata.tables.items()}
    assert {name: sorted(_named(each)) for name, each in DATA_CLASSES.items()} == {
        name: sorted(columns) for name, columns in tables.items()
    }


def test_what_is_sealed_is_text_of_a_table_with_an_id_a_tenant_and_an_anchor() -> None:
    for each in SEALED:
        table = metadata.tables[each.name]
        assert {"id", "tenant_id", each.anchor, *each.columns} <= {column.name for column in table.columns}
        assert {str(table.c[name].type) for name in each.columns} == {"TEXT"}
        assert set(each.json) <= set(each.columns)


def test_no_sealed_column_is_in_an_index_or_a_key() -> None:
    for each in SEALED:
        table = metadata.tables[each.name]
        indexed = {column.name for index in table.indexes for column in index.columns}
        assert not set(each.columns) & (indexed | {column.name for column in table.primary_key})
