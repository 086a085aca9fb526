import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, insert, select

from handrail.db import Prepared, scoped
from handrail.db.prepared import DialectName

thing = Table("thing", MetaData(), Column("tenant_id", Text), Column("id", Integer), Column("kind", Text))


class TestBind:
    @pytest.mark.parametrize(("dialect", "sign"), [("sqlite", "?"), ("postgresql", "$1")])
    def test_speaks_the_drivers_own_language(self, dialect: DialectName, sign: str) -> None:
        sql, values = Prepared(select(thing.c.id).where(thing.c.id == bindparam("id"))).bind(dialect, {"id": 7})

        assert sign in sql
        assert values == [7]

    @pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
    def test_fills_in_constants_and_lets_a_parameter_replace_them(self, dialect: DialectName) -> None:
        statement = Prepared(select(thing).where(thing.c.kind == "plain", thing.c.id == bindparam("id")))

        assert statement.bind(dialect, {"id": 7})[1] == ["plain", 7]
        assert statement.bind(dialect, {"id": 7, "kind_1": "fancy"})[1] == ["fancy", 7]

    @pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
    def test_takes_a_list_of_constants(self, dialect: DialectName) -> None:
        _, values = Prepared(select(thing).where(thing.c.kind.in_(["a", "b"]))).bind(dialect, {})

        assert values == ["a", "b"]

    def test_names_the_parameter_that_is_missing(self) -> None:
        with pytest.raises(KeyError, match="kind"):
            Prepared(insert(thing)).bind("sqlite", {"tenant_id": "acme", "id": 1})

    def test_ignores_what_the_statement_does_not_know(self) -> None:
        _, values = Prepared(insert(thing), ["id"]).bind("sqlite", {"id": 1, "more": 2})

        assert values == [1]


class TestScoped:
    @pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
    def test_can_not_be_asked_without_a_tenant(self, dialect: DialectName) -> None:
        statement = Prepared(scoped(thing).where(thing.c.id == bindparam("id")))

        with pytest.raises(KeyError, match="tenant_id"):
            statement.bind(dialect, {"id": 1})
        assert statement.bind(dialect, {"id": 1, "tenant_id": "acme"})[1] == ["acme", 1]

    def test_reads_only_the_columns_it_was_asked_for(self) -> None:
        sql, _ = Prepared(scoped(thing, thing.c.id)).bind("sqlite", {"tenant_id": "acme"})

        assert sql.splitlines()[0].strip() == "SELECT thing.id"
