"""Every answer passes the output guardrails; what is streamed, stored and told later is the same text."""

from typing import Any

from handrail.core.clock import FrozenClock
from handrail.db import Database
from handrail.flows.audit_desk import AuditDesk, Filter
from handrail.flows.wording import ANSWER_REFUSED
from handrail.protection.auth import LOCAL_OPERATOR
from handrail.protection.guardrails import OutputGuardrail, OutputScanner
from handrail.protection.guardrails.schema import OutputPolicy
from handrail.serving.models import ScriptedModel, calls
from tests.flows.desk import Desk
from tests.flows.world import PROJECT, World, closed, events_of, text_of, world_over

KEY = "sk-abcDEF0123456789abcdefXYZ"


def under(world: World, **policy: Any) -> None:
    """Let the loaded release have this policy for what goes out."""
    world.release.output_guardrail = OutputGuardrail(OutputPolicy.model_validate(policy))


def said_to(model: ScriptedModel) -> str:
    return "\n".join(message.content for request in model.requests for message in request.messages)


class TestAnswer:
    async def test_streams_and_stores_the_same_text_without_the_secret(self, world: World) -> None:
        conversation = await world.open()
        world.script(f"Your key is {KEY}, keep it.")

        stream = await world.send(conversation, "hello there")
        seen = await events_of(stream)

        assert text_of(seen) == await world.answer(stream.turn_id) == "Your key is [withheld], keep it."
        assert KEY not in str(seen)

    async def test_later_turns_tell_the_model_what_went_out(self, world: World) -> None:
        conversation = await world.open()
        world.script(f"Your key is {KEY}.")
        await world.say(conversation, "hello there")
        model = world.script("Hello.")

        await world.say(conversation, "and now")

        assert KEY not in said_to(model)
        assert "[withheld]" in said_to(model)

    async def test_words_between_tool_calls_are_stored_filtered_too(self, world: World, desk: Desk) -> None:
        world.script(calls(("get_order", {"order": "A1004"}), text=f"I use {KEY} for it."), "Done.")

        result = await world.say(await world.open(), "tell me about my order")

        assert all(KEY not in each.content for each in await world.turn_messages(result["id"]))
        assert result["message"]["content"] == "I use [withheld] for it.\n\nDone."

    async def test_a_refused_answer_is_taken_back_whole(self, world: World) -> None:
        under(world, secrets="refuse")
        world.script(f"Here you are, as you wish: {KEY} and more.")

        stream = await world.send(await world.open(), "hello there")
        seen = await events_of(stream)
        result = await stream.wait()

        assert text_of(seen) == result["message"]["content"] == ANSWER_REFUSED
        assert result["error"]["code"] == "output_refused"

    async def test_is_recorded_with_the_turn_counted_and_audited(self, world: World) -> None:
        world.script(f"Your key is {KEY}.")

        result = await world.say(await world.open(), "hello there")

        (tripped,) = (await world.stored(result["id"])).tripped
        assert (tripped["guardrail"], tripped["action"]) == ("output.secrets", "mask")
        page = world.services.metrics.render().decode()
        assert 'guardrail="output.secrets"' in page
        found = await AuditDesk(world.services, LOCAL_OPERATOR).search(Filter(action="guardrail.tripped"))
        assert [each["target"] for each in found["data"]] == [f"turn:{result['id']}"]


class TestClosed:
    async def test_nothing_unseen_goes_out_when_the_filter_fails(self, world: World) -> None:
        def broken(text: str) -> list[str]:
            raise ValueError("no detector today")

        under(world, personal_data="withhold")
        world.services.output_scanner = OutputScanner(find_personal=broken)
        world.script("Write to bob@mail.example. Bye.")

        stream = await world.send(await world.open(), "hello there")
        seen = await events_of(stream)

        assert (await stream.wait())["status"] == "failed"
        assert "bob" not in str(seen)


class TestLinks:
    async def test_of_a_tools_result_goes_out_and_one_made_of_it_does_not(self, world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda order: {"track": "https://dhl.example/t?id=JD01"}
        world.script(
            calls(("get_order", {"order": "A1004"})),
            "Track: https://dhl.example/t?id=JD01 or https://dhl.example/t?id=JD01&card=4111",
        )

        result = await world.say(await world.open(), "tell me about my order")

        assert result["message"]["content"] == "Track: https://dhl.example/t?id=JD01 or [link withheld]"

    async def test_of_a_domain_that_the_project_names_goes_out(
        self, sqlite_db: Database, clock: FrozenClock, desk: Desk
    ) -> None:
        told = {"instructions.md": "You are the shop's assistant. Our site is https://shop.example/.\n"}
        world = await world_over(sqlite_db, clock, project={**PROJECT, **told})
        world.script("See https://shop.example/help?topic=returns for it.")

        result = await world.say(await world.open(), "hello there")

        assert "https://shop.example/help?topic=returns" in result["message"]["content"]
        await closed(world)


class TestGrounding:
    async def test_counts_claims_that_were_not_given(self, world: World, desk: Desk) -> None:
        desk.acts["get_order"] = lambda order: {"price": 49.99}
        world.script(calls(("get_order", {"order": "A1004"})), "A1004 costs 49.99 and weighs 812 grams.")

        result = await world.say(await world.open(), "tell me about order A1004")

        page = world.services.metrics.render().decode()
        assert 'answer_claims_total{agent="shop"} 3' in page
        assert 'answer_claims_unsupported_total{agent="shop",kind="number"} 1' in page
        assert 'unsupported_claim_rate{agent="shop"} 0.33' in page
        assert (await world.stored(result["id"])).tripped[0]["reasons"] == ["number_not_given"]

    async def test_an_agent_that_withholds_streams_sentence_by_sentence(self, world: World, desk: Desk) -> None:
        under(world, grounding="withhold")
        desk.acts["get_order"] = lambda order: {"price": 49.99}
        world.script(calls(("get_order", {"order": "A1004"})), "It costs 49.99 euros. It weighs 812 grams. Bye.")

        stream = await world.send(await world.open(), "tell me about my order")
        seen = await events_of(stream)

        assert text_of(seen) == await world.answer(stream.turn_id) == "It costs 49.99 euros. [withheld] Bye."
        assert "812 grams" not in str(seen)

    async def test_does_not_judge_what_a_flow_says(self, world: World, desk: Desk) -> None:
        under(world, grounding="withhold")
        desk.acts["get_order"] = lambda order: {"status": "lost for 812 days"}
        world.head.knows("where is A1004", "order_status")

        result = await world.say(await world.open(), "where is A1004")

        assert "812" in result["message"]["content"]
