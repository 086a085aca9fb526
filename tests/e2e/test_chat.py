"""Journeys through the chat page, in a real browser against the real server."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.browsers import PHONE, Visitor
from tests.e2e.servers import LiveShop

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ORDER = "where is my order A1001?"
POLICY = "How long do I have to return something?"
TURNS = re.compile(r"/v1/conversations/[^/]+/turns$")
EVENTS = re.compile(r"/v1/turns/[^/]+/events$")


def say(page: Page, text: str) -> Locator:
    """Send a message and wait for the end of its answer; returns its turn."""
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()
    return answered(page)


def answered(page: Page) -> Locator:
    turn = page.locator(".turn[data-turn]").last
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    expect(turn.locator(".answer")).not_to_have_attribute("data-status", "running")
    return turn


def text_of(turn: Locator) -> str:
    return turn.locator('[data-part="text"]').inner_text()


def stored(page: Page) -> list[dict[str, Any]]:
    """The transcript as the API has it."""
    conversation = re.search(r"conversation=(\w+)", page.url)
    assert conversation, page.url
    answer = page.request.get(f"{page.url.partition('/console')[0]}/v1/conversations/{conversation[1]}")
    return answer.json()["messages"]


def events(*pairs: tuple[str, dict[str, Any]]) -> str:
    return "".join(
        f"id: 1.{number}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for number, (name, data) in enumerate(pairs, 1)
    )


class TestTalking:
    def test_an_answer_comes_with_its_tool_call_and_the_reason_for_its_route(self, visitor: Visitor):
        page = visitor.open("/")
        turn = say(page, ORDER)
        assert "A1001" in text_of(turn)
        tool = turn.locator(".tool")
        expect(tool.locator('[data-part="name"]')).to_have_text("get_order")
        expect(tool.locator('[data-part="arguments"]')).to_have_text("order_id: A1001")
        expect(tool.locator('[data-part="status"]')).to_have_text("completed")
        turn.get_by_text("How this was decided").click()
        expect(turn.get_by_text("order_status", exact=True)).to_be_visible()

    def test_text_appears_while_the_answer_is_still_on_its_way(self, visitor: Visitor):
        page = visitor.open()
        page.evaluate(
            """() => {
              window.seen = [];
              new MutationObserver(() => {
                const last = [...document.querySelectorAll(".turn .answer")].at(-1);
                window.seen.push([last.dataset.status, last.querySelector('[data-part="text"]')?.textContent ?? ""]);
              }).observe(transcript, { subtree: true, childList: true, characterData: true });
            }"""
        )
        turn = say(page, POLICY)
        seen = page.evaluate("window.seen")
        assert any(status == "running" and text for status, text in seen), seen
        assert seen[-1][1] == text_of(turn)

    def test_a_policy_answer_names_its_source(self, visitor: Visitor):
        turn = say(visitor.open(), POLICY)
        expect(turn).to_contain_text("returns.md")

    def test_enter_sends_and_shift_enter_makes_a_line(self, visitor: Visitor):
        page = visitor.open()
        message = page.get_by_label("Your message")
        message.fill("where is my order")
        message.press("Shift+Enter")
        message.type("A1001?")
        message.press("Enter")
        turn = answered(page)
        expect(turn.locator('[data-part="said"]')).to_have_text("where is my order\nA1001?")
        expect(message).to_have_value("")

    def test_a_suggestion_is_a_first_message(self, visitor: Visitor):
        page = visitor.open()
        suggestion = page.get_by_role("group", name="Suggestions").get_by_role("button").first
        text = suggestion.inner_text()
        suggestion.click()
        expect(answered(page).locator('[data-part="said"]')).to_have_text(text)
        expect(page.locator("#greeting")).to_be_hidden()

    def test_a_yes_button_answers_the_question_of_a_flow(self, visitor: Visitor):
        page = visitor.open()
        say(page, "cancel order A1002")
        replies = page.get_by_role("group", name="Quick replies")
        expect(replies.get_by_role("button")).to_have_text(["Yes", "No"])
        replies.get_by_role("button", name="No").click()
        expect(answered(page).locator('[data-part="said"]')).to_have_text("No")
        expect(replies).to_be_hidden()

    def test_an_unclear_message_offers_the_likeliest_meanings(self, visitor: Visitor):
        page = visitor.open()
        say(page, "hm, that thing with the other thing")
        replies = page.get_by_role("group", name="Quick replies").get_by_role("button")
        expect(replies).to_have_count(2)
        chosen = replies.first.inner_text()
        replies.first.click()
        turn = answered(page)
        expect(turn.locator('[data-part="said"]')).to_have_text(chosen)
        turn.get_by_text("How this was decided").click()
        expect(turn.get_by_text("the user chose")).to_be_visible()

    def test_an_earlier_conversation_is_listed_and_opens(self, visitor: Visitor):
        page = visitor.open()
        said = text_of(say(page, ORDER))
        address = page.url
        page.get_by_role("link", name="New conversation").click()
        expect(page.locator("#greeting")).to_be_visible()
        page.locator(f'.conversations a[href="{address[address.index("/console") :]}"]').click()
        expect(page.locator('.turn[data-turn] [data-part="text"]')).to_have_text(said)


class TestFeedback:
    def test_a_thumb_and_a_comment_by_keyboard_stay_after_a_reload_and_the_chat_goes_on(self, visitor: Visitor):
        page = visitor.open("/")
        turn = say(page, ORDER)
        thumb = turn.get_by_role("button", name="Not helpful", exact=True)
        thumb.focus()
        page.keyboard.press("Enter")
        expect(thumb).to_have_attribute("aria-pressed", "true")
        expect(turn.get_by_text("Thank you")).to_be_visible()
        turn.get_by_text("Comment", exact=True).focus()
        page.keyboard.press("Enter")
        turn.get_by_label("Comment on this answer").fill("<b>too late</b>")
        page.keyboard.press("Enter")
        expect(turn.get_by_label("Comment on this answer")).to_be_hidden()
        said = page.request.get(feedback_of(page)).json()["data"]
        assert [(each["kind"], each["score"], each["comment"]) for each in said if not each["replaced_at"]] == [
            ("thumb", -1, None),
            ("text", None, "<b>too late</b>"),
        ]
        say(page, POLICY)
        page.reload()
        first, second = page.locator(".turn[data-turn]").all()
        expect(first.get_by_role("button", name="Not helpful", exact=True)).to_have_attribute("aria-pressed", "true")
        expect(second.get_by_role("button", name="Helpful", exact=True)).to_have_attribute("aria-pressed", "false")

    def test_nothing_is_asked_while_the_answer_is_on_its_way(self, visitor: Visitor):
        page = visitor.open("/")
        page.route(EVENTS, lambda route: route.abort())
        visitor.allow("net::ERR_FAILED")
        fulfil(page, events(("turn.started", {"turn_id": "turn_1"}), ("message.delta", {"text": "so far"})))
        page.get_by_label("Your message").fill("hello")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("so far")).to_be_visible()
        expect(page.get_by_role("button", name="Helpful", exact=True)).to_be_hidden()


def feedback_of(page: Page) -> str:
    conversation = re.search(r"conversation=(\w+)", page.url)
    assert conversation, page.url
    return f"{page.url.partition('/console')[0]}/v1/conversations/{conversation[1]}/feedback"


class TestComingBack:
    def test_a_reload_shows_what_was_said_and_how_it_was_decided(self, visitor: Visitor):
        page = visitor.open()
        said = text_of(say(page, ORDER))
        page.reload()
        turn = page.locator(".turn[data-turn]")
        expect(turn).to_have_count(1)
        expect(turn.locator('[data-part="text"]')).to_have_text(said)
        expect(turn.locator(".tool")).to_have_count(1)
        turn.get_by_text("How this was decided").click()
        expect(turn.get_by_text("order_status", exact=True)).to_be_visible()

    def test_the_script_shows_the_transcript_when_the_server_could_not(self, visitor: Visitor):
        """With API keys the page comes without it: the key is only in the tab."""
        page = visitor.open()
        said = text_of(say(page, ORDER))
        conversation = page.url.partition("conversation=")[2]

        def unrendered(route: Route) -> None:
            body = route.fetch(url=f"{visitor.address}/console/chat").text()
            body = body.replace('data-conversation=""', f'data-conversation="{conversation}"')
            route.fulfill(content_type="text/html", body=body.replace(" data-rendered", ""))

        page.route("**/console/chat?*", unrendered)
        page.reload()
        turn = page.locator(".turn[data-turn]")
        expect(turn.locator('[data-part="said"]')).to_have_text(ORDER)
        expect(turn.locator('[data-part="text"]')).to_have_text(said)
        expect(turn.locator(".tool")).to_have_count(1)
        expect(page.locator('.conversations a[aria-current="page"]')).to_have_count(1)

    def test_a_reload_keeps_the_question_answerable(self, visitor: Visitor):
        page = visitor.open()
        say(page, "cancel order A1002")
        page.reload()
        expect(page.get_by_role("group", name="Quick replies").get_by_role("button")).to_have_text(["Yes", "No"])

    def test_a_stream_that_breaks_off_is_taken_up_without_loss(self, visitor: Visitor):
        page = visitor.open()
        reconnects: list[str | None] = []

        def cut(route: Route) -> None:
            answer = route.fetch()
            whole = answer.text()
            # Up to the middle of the first piece of text: the event that was cut has to come again.
            at = whole.index("event: message.delta") + 40
            route.fulfill(response=answer, body=whole[:at])

        def reconnect(route: Route) -> None:
            reconnects.append(route.request.headers.get("last-event-id"))
            if len(reconnects) == 1:
                route.abort()
            else:
                route.continue_()

        visitor.allow("net::ERR_FAILED")
        page.route(TURNS, cut)
        page.route(EVENTS, reconnect)
        turn = say(page, ORDER)
        assert len(reconnects) == 2
        assert reconnects[0] is not None
        assert reconnects[0] == reconnects[1]
        assert text_of(turn) == stored(page)[-1]["content"]
        expect(turn.locator(".tool")).to_have_count(1)

    def test_a_page_left_while_the_answer_came_finds_it_complete(self, visitor: Visitor):
        page = visitor.open()
        page.route(TURNS, lambda route: route.fulfill(response=route.fetch(), body=""))
        page.route(EVENTS, lambda route: route.abort())
        visitor.allow("net::ERR_FAILED")
        page.get_by_label("Your message").fill(ORDER)
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("The connection was lost")).to_have_count(2)
        page.unroute_all(behavior="ignoreErrors")
        page.reload()
        turn = page.locator(".turn[data-turn]")
        expect(turn.locator('[data-part="text"]')).to_contain_text("A1001")
        assert text_of(turn) == stored(page)[-1]["content"]

    def test_what_was_said_is_there_after_the_server_was_restarted(self, visitor: Visitor, live_shop: LiveShop):
        page = visitor.open()
        said = text_of(say(page, ORDER))
        live_shop.stop()
        visitor.allow("net::ERR_CONNECTION_REFUSED")
        live_shop.start()
        page.reload()
        expect(page.locator('.turn[data-turn] [data-part="text"]')).to_have_text(said)
        assert "A1001" in text_of(say(page, ORDER))


class TestTrouble:
    def test_a_server_that_is_gone_keeps_the_text_in_the_field(self, visitor: Visitor):
        page = visitor.open()
        page.route("**/v1/**", lambda route: route.abort())
        visitor.allow("net::ERR_FAILED")
        page.get_by_label("Your message").fill("do not lose this")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
        expect(page.get_by_label("Your message")).to_have_value("do not lose this")
        page.reload()
        expect(page.get_by_label("Your message")).to_have_value("do not lose this")

    def test_a_message_that_was_stored_but_not_confirmed_is_not_sent_twice(self, visitor: Visitor):
        page = visitor.open()

        def lose(route: Route) -> None:
            route.fetch()
            route.abort()

        visitor.allow("net::ERR_FAILED")
        page.route(TURNS, lose)
        page.get_by_label("Your message").fill(ORDER)
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.unroute_all(behavior="wait")
        page.get_by_role("button", name="Send", exact=True).click()
        answered(page)
        assert [each["content"] for each in stored(page) if each["role"] == "user"] == [ORDER]

    def test_a_rate_limit_says_when_to_send_again(self, visitor: Visitor):
        page = visitor.open()
        visitor.allow("429")
        body = json.dumps({"error": {"code": "rate_limited", "message": "too many turns", "trace_id": "t"}})
        page.route(TURNS, lambda route: route.fulfill(status=429, headers={"retry-after": "7"}, body=body))
        page.get_by_label("Your message").fill("again")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("in 7 seconds")
        expect(page.get_by_label("Your message")).to_have_value("again")

    def test_a_failed_turn_can_be_sent_again(self, visitor: Visitor):
        page = visitor.open()
        failed = events(
            ("turn.started", {"turn_id": "turn_1"}),
            ("message.started", {"id": "msg_1"}),
            ("message.completed", {"id": "msg_1", "content": "I'm sorry.", "sources": []}),
            ("turn.failed", {"id": "turn_1", "status": "failed", "error": {"code": "model_error", "message": "x"}}),
        )
        fulfil(page, failed)
        turn = say(page, ORDER)
        expect(turn).to_contain_text("This turn failed (model_error)")
        page.unroute_all()
        page.get_by_role("button", name="Send again").click()
        expect(answered(page).locator('[data-part="text"]')).to_contain_text("A1001")

    def test_a_key_is_asked_for_and_kept_in_this_tab_only(self, visitor: Visitor):
        page = visitor.open()
        visitor.allow("401")
        asked: list[str | None] = []

        def guard(route: Route) -> None:
            asked.append(route.request.headers.get("authorization"))
            if asked[-1] == "Bearer hr_right":
                route.continue_(headers={k: v for k, v in route.request.headers.items() if k != "authorization"})
            else:
                body = json.dumps({"error": {"code": "unauthenticated", "message": "send an API key"}})
                route.fulfill(status=401, body=body)

        page.route("**/v1/**", guard)
        page.get_by_label("Your message").fill(ORDER)
        page.get_by_role("button", name="Send", exact=True).click()
        for key in ("hr_wrong", "hr_right"):
            page.get_by_label("This server asks for an API key").fill(key)
            page.get_by_role("button", name="Use this key").click()
            page.get_by_role("button", name="Send", exact=True).click()
        assert "A1001" in text_of(answered(page))
        assert "Bearer hr_wrong" in asked
        assert page.evaluate("localStorage.length") == 0
        page.get_by_role("button", name="Forget the API key").click()
        page.wait_for_url("**/console/chat")
        assert page.evaluate("sessionStorage.getItem('handrail-api-key')") is None

    def test_stopping_asks_the_server_to_cancel_the_turn(self, visitor: Visitor):
        page = visitor.open()
        cancelled: list[str] = []

        def cancel(route: Route) -> None:
            cancelled.append(route.request.url)
            route.fulfill(body="{}")

        begun = events(("turn.started", {"turn_id": "turn_1"}), ("message.started", {"id": "msg_1"}))
        stopped = events(
            ("message.restarted", {"text": "I was about"}),
            ("message.completed", {"id": "msg_1", "content": "I was about\n\n(Stopped here.)", "sources": []}),
            ("turn.cancelled", {"id": "turn_1", "status": "cancelled"}),
        )
        page.route("**/v1/turns/turn_1/cancel", cancel)
        page.route(EVENTS, lambda route: route.fulfill(body=stopped) if cancelled else route.abort())
        visitor.allow("net::ERR_FAILED")
        fulfil(page, begun)
        page.get_by_label("Your message").fill("a long story")
        page.get_by_role("button", name="Send", exact=True).click()
        page.get_by_role("button", name="Stop").click()
        turn = answered(page)
        assert text_of(turn) == "I was about\n\n(Stopped here.)"
        expect(turn.locator(".answer")).to_have_attribute("data-status", "cancelled")


class TestText:
    def test_markup_of_users_models_tools_and_sources_is_shown_as_it_is(self, visitor: Visitor):
        page = visitor.open()
        markup = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
        call = {"id": "call_1", "name": markup}
        fulfil(
            page,
            events(
                ("turn.started", {"turn_id": "turn_1"}),
                ("route.decided", {"action": "execute", "intent": markup, "confidence": 1.0, "reason": markup}),
                ("tool.started", {**call, "arguments": {markup: markup}}),
                ("tool.completed", {**call, "status": "completed"}),
                ("message.started", {"id": "msg_1"}),
                ("message.delta", {"text": markup}),
                ("message.completed", {"id": "msg_1", "content": markup, "sources": [markup]}),
                ("turn.completed", {"id": "turn_1", "status": "completed", "usage": {}}),
            ),
        )
        turn = say(page, markup)
        expect(turn.locator('[data-part="said"]')).to_have_text(markup)
        assert text_of(turn) == markup
        expect(turn.locator('[data-part="name"]')).to_have_text(markup)
        assert turn.locator("img, script").count() == 0
        assert "owned" not in page.title()

    def test_restarted_text_replaces_what_was_there(self, visitor: Visitor):
        page = visitor.open()
        fulfil(
            page,
            events(
                ("turn.started", {"turn_id": "turn_1"}),
                ("message.started", {"id": "msg_1"}),
                ("message.delta", {"text": "Half a sen"}),
                ("message.restarted", {"text": "The whole"}),
                ("message.delta", {"text": " text"}),
                ("turn.completed", {"id": "turn_1", "status": "completed"}),
            ),
        )
        assert text_of(say(page, "hello")) == "The whole text"


def fulfil(page: Page, body: str) -> None:
    """Answer the next turns with these events."""
    headers = {"content-type": "text/event-stream", "x-handrail-turn-id": "turn_1"}
    page.route(TURNS, lambda route: route.fulfill(headers=headers, body=body))


class TestWithoutScripts:
    def test_a_message_is_answered_and_a_question_can_be_declined(self, visitor: Visitor):
        page = visitor.open(java_script_enabled=False)
        # Searching by text leaves <noscript> out.
        expect(page.locator("noscript .notice")).to_be_visible()
        page.get_by_label("Your message").fill("cancel order A1002")
        page.get_by_role("button", name="Send", exact=True).click()
        page.get_by_role("button", name="No", exact=True).click()
        expect(page.locator('.turn[data-turn] [data-part="said"]')).to_have_text(["cancel order A1002", "No"])
        expect(page.locator(".turn[data-turn] .tool").first).to_be_visible()

    def test_a_suggestion_works_beside_the_empty_field(self, visitor: Visitor):
        page = visitor.open(java_script_enabled=False)
        page.get_by_role("group", name="Suggestions").get_by_role("button").first.click()
        expect(page.locator(".turn[data-turn]")).to_have_count(1)


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}


class TestLooks:
    @pytest.mark.parametrize("look", LOOKS)
    def test_axe_finds_nothing(self, visitor: Visitor, look: str):
        page = visitor.open(bypass_csp=True, **LOOKS[look])
        accessible(page)
        say(page, ORDER)
        say(page, "cancel order A1002")
        page.get_by_text("How this was decided").first.click()
        page.get_by_role("button", name="Helpful", exact=True).first.click()
        page.get_by_text("Comment", exact=True).first.click()
        page.get_by_label("Your message").fill("something")
        accessible(page)
        if look == "phone":
            page.get_by_role("button", name="Conversations").click()
            accessible(page)
        page.goto(f"{visitor.address}/docs")
        for summary in page.locator(".operation > summary").all()[:4]:
            summary.click()
        accessible(page)
        page.goto(f"{visitor.address}/console/status")
        accessible(page)

    def test_errors_and_the_key_form_are_accessible_too(self, visitor: Visitor):
        page = visitor.open(bypass_csp=True)
        visitor.allow("401")
        page.route("**/v1/**", lambda route: route.fulfill(status=401, body="{}"))
        page.get_by_label("Your message").fill("hello")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_label("This server asks for an API key")).to_be_focused()
        accessible(page)

    @pytest.mark.parametrize("width", [320, 390])
    def test_nothing_scrolls_sideways_on_a_phone(self, visitor: Visitor, width: int):
        page = visitor.open(viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True)
        long_word = "A" * 200
        call = {"id": "call_1", "name": "a_tool_with_quite_a_long_name"}
        fulfil(
            page,
            events(
                ("turn.started", {"turn_id": "turn_1"}),
                ("route.decided", {"action": "execute", "intent": long_word, "confidence": 1.0, "reason": long_word}),
                ("tool.started", {**call, "arguments": {"reference": long_word}}),
                ("message.completed", {"id": "msg_1", "content": long_word, "sources": [long_word]}),
                ("turn.completed", {"id": "turn_1", "status": "completed"}),
            ),
        )
        turn = say(page, long_word)
        turn.get_by_text("How this was decided").click()
        turn.get_by_text("Comment", exact=True).click()
        assert fits(page)
        for path in ("/docs", "/console/status"):
            page.goto(visitor.address + path)
            for summary in page.locator(".operation > summary").all():
                summary.click()
            assert fits(page)

    def test_dark_is_dark(self, visitor: Visitor):
        page = visitor.open(color_scheme="dark")
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert max(map(int, re.findall(r"\d+", colour)[:3])) < 60

    def test_whoever_wants_no_motion_gets_none(self, visitor: Visitor):
        page = visitor.open(reduced_motion="reduce")
        begun = events(("turn.started", {"turn_id": "turn_1"}), ("message.delta", {"text": "so far"}))
        page.route(EVENTS, lambda route: route.abort())
        visitor.allow("net::ERR_FAILED")
        fulfil(page, begun)
        page.get_by_label("Your message").fill("hello")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("so far")).to_be_visible()
        assert page.evaluate("document.getAnimations().length") == 0

    def test_the_page_can_be_used_by_keyboard_alone(self, visitor: Visitor):
        page = visitor.open()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.get_by_role("group", name="Suggestions").get_by_role("button").first).to_be_focused()
        page.keyboard.press("Enter")
        answered(page)
        expect(page.get_by_label("Your message")).to_be_focused()


def accessible(page: Page) -> None:
    found: Sequence[dict[str, Any]] = Axe().run(page).response["violations"]
    told = [f"{each['id']}: {node['html'][:160]} {node['failureSummary']}" for each in found for node in each["nodes"]]
    assert told == []


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
