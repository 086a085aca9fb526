"""The list of conversations and one of them, as staff see them without scripts."""

import csv
import io

from sqlalchemy import insert, select, update

from handrail.console.charts import milliseconds
from handrail.db import Prepared
from handrail.insight.scorecard.tables import conversation_fact
from handrail.protection.audit import AuditQuery
from handrail.serving.conversations.tables import tool_call
from tests.console.console import Console
from tests.console.test_dashboard import count


class TestList:
    async def test_says_what_to_do_when_nothing_fits(self, console: Console) -> None:
        assert "No conversation fits" in (await console.get("/console/conversations")).text

    async def test_shows_what_became_of_each_and_no_word_of_it(self, console: Console) -> None:
        conversation = await console.say("hello there, my secret plan")
        await count(console)
        page = (await console.get("/console/conversations?range=24h&outcome=pending")).text
        assert f'href="/console/conversations/{conversation}"' in page
        assert "secret plan" not in page
        assert "No conversation fits" in (await console.get("/console/conversations?outcome=escalated")).text

    async def test_finds_who_is_behind_a_pseudonym(self, console: Console) -> None:
        conversation = await console.say("hello there")
        await count(console)
        subject = (await console.services.db.fetch_all(Prepared(select(conversation_fact.c.subject)), {}))[0]["subject"]
        for tenant, is_found in (("default", True), ("evil", False)):
            pseudonym = console.services.audit.pseudonyms.of(tenant, subject)
            page = (await console.get(f"/console/conversations?range=24h&subject={pseudonym}")).text
            assert (f'href="/console/conversations/{conversation}"' in page) is is_found

    async def test_an_unknown_cost_is_none_in_an_export(self, console: Console) -> None:
        await console.say("hello there")
        await count(console)
        async with console.services.db.batch() as batch:
            batch.add(Prepared(update(conversation_fact).values(unpriced_calls=1)), {})
        (row,) = csv.DictReader(io.StringIO((await console.get("/console/conversations.csv?range=24h")).text))
        assert (row["cost_micros_usd"], row["unpriced_calls"]) == ("", "1")

    async def test_pages_and_exports(self, console: Console) -> None:
        await console.say("hello there")
        await count(console)
        answer = await console.get("/console/conversations.csv?range=24h")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["outcome"] for row in rows] == ["pending"]
        await console.services.audit.flush()
        found = await console.services.audit.store.search(AuditQuery("default", action="insight.exported"))
        assert len(found) == 1

    async def test_says_which_choice_it_does_not_know(self, console: Console) -> None:
        for wrong in (
            "outcome=%3Cb%3E",
            "agnet=%3Cb%3E",
            "range=ever",
            "since=2026-02-01&until=2026-01-01",
            "min_seconds=-1",
            "min_cost=nan",
            "cursor=x",
        ):
            answer = await console.get(f"/console/conversations?{wrong}")
            assert answer.status_code == 422, wrong
            assert "<b>" not in answer.text

    async def test_tells_a_name_that_nothing_has(self, console: Console) -> None:
        answer = await console.get("/console/conversations?range=24h&intent=refnud")
        assert (answer.status_code, "there is no intent &#39;refnud&#39;" in answer.text) == (404, True)
        assert (await console.get("/console/conversations?range=24h&channel=openai")).status_code == 200


class TestDetail:
    async def test_shows_what_was_said_escaped_and_what_is_known(self, console: Console) -> None:
        conversation = await console.say("hello <i>there</i>")
        page = (await console.get(f"/console/conversations/{conversation}")).text
        assert "hello &lt;i&gt;there&lt;/i&gt;" in page
        assert "<b title=" not in page
        assert "Turn 1: completed" in page
        assert "small_talk" in page

    async def test_took_what_its_trace_says_of_which_our_share_is_a_part(self, console: Console) -> None:
        conversation = await console.say("hello there")
        await console.services.traces.flush()
        (trace,) = await console.services.traces.store.of_conversation("default", conversation)
        page = (await console.get(f"/console/conversations/{conversation}")).text
        assert f"<dt>Took</dt><dd>{milliseconds(trace.duration_micros / 1000)}</dd>" in page
        assert trace.overhead_micros <= trace.duration_micros

    async def test_shows_handles_where_identifiers_were_said(self, console: Console) -> None:
        conversation = await console.say("write to ana.moss@example.org please")
        page = (await console.get(f"/console/conversations/{conversation}")).text
        assert "ana.moss@example.org" not in page
        assert "email_" in page

    async def test_writes_down_who_looked(self, console: Console) -> None:
        conversation = await console.say("hello there")
        await console.get(f"/console/conversations/{conversation}")
        await console.services.audit.flush()
        found = await console.services.audit.store.search(AuditQuery("default", action="conversation.read"))
        assert [each.target for each in found] == [f"conversation:{conversation}"]

    async def test_of_nobody_is_not_there(self, console: Console) -> None:
        assert (await console.get("/console/conversations/conv_nobody")).status_code == 404

    async def test_shows_handles_and_no_secrets_however_a_model_wrote_its_arguments(self, console: Console) -> None:
        conversation = await console.say("hello there")
        secret = f"sk-ant-api03-{'a1' * 24}"
        (turn,) = await console.services.conversations.turns("default", conversation, limit=1)
        call = dict.fromkeys(tool_call.c.keys()) | {
            "id": "tc_1", "tenant_id": "default", "conversation_id": conversation, "turn_id": turn.id,
            "provider_id": "call_1", "name": "write_to", "effect": "read", "status": "ok", "created_at": 1,
            "arguments": rf'{{"to": "ana.moss\u0040example.org", "text": "so\n4111 1111 1111 1111 {secret}"}}',
            "arguments_hash": "x",
        }  # fmt: skip
        async with console.services.db.batch() as batch:
            batch.add(Prepared(insert(tool_call)), call)
        for page in (f"/console/conversations/{conversation}", f"/console/chat?conversation={conversation}"):
            text = (await console.get(page)).text
            assert "write_to" in text
            assert "a1a1a1" not in text
        text = (await console.get(f"/console/conversations/{conversation}")).text
        assert "ana.moss@example.org" not in text
        assert "4111" not in text
