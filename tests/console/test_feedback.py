"""Feedback by plain forms: thumbs, words and a rating of the user, and what staff see and record."""

import httpx2
import pytest

from handrail.core.principal import Principal
from handrail.insight.feedback import FeedbackRules
from tests.console.console import ORIGIN, Console

SAME_ORIGIN = {"sec-fetch-site": "same-origin", "origin": ORIGIN}
CUSTOMER = Principal("default", "demo-customer")


async def post(
    console: Console, path: str, fields: dict[str, str], headers: dict[str, str] = SAME_ORIGIN
) -> httpx2.Response:
    return await console.client.post(path, data=fields, headers=headers)


async def talked(console: Console) -> tuple[str, str]:
    conversation = await console.say("hello")
    stored = await console.services.conversations.find("default", conversation)
    messages = await console.services.conversations.messages(stored, limit=10)
    return conversation, messages[0].turn_id


class TestOnTheChatPage:
    async def test_a_thumb_stays_pressed_and_another_one_replaces_it(self, console: Console) -> None:
        conversation, turn = await talked(console)
        for score in ("1", "-1"):
            fields = {"conversation": conversation, "turn": turn, "score": score, "comment": ""}
            answer = await post(console, "/console/chat/feedback", fields)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith(f"/console/chat?conversation={conversation}")
            page = (await console.get(f"/console/chat?conversation={conversation}")).text
            assert f'name="score" value="{score}" aria-pressed="true"' in page
            assert page.count('aria-pressed="true"') == 1

    async def test_a_comment_goes_alone_or_with_a_thumb(self, console: Console) -> None:
        conversation, turn = await talked(console)
        fields = {"conversation": conversation, "turn": turn, "comment": "  <b>wrong</b> "}
        await post(console, "/console/chat/feedback", fields)
        await post(console, "/console/chat/feedback", fields | {"score": "-1"})
        said = await console.services.feedback.of_conversation("default", conversation)
        assert [(each.kind, each.score, each.comment) for each in said] == [
            ("text", None, "<b>wrong</b>"),
            ("thumb", -1, "<b>wrong</b>"),
        ]

    async def test_a_rating_is_asked_for_only_when_the_deployment_wants_it(self, console: Console) -> None:
        conversation, _ = await talked(console)
        assert "How satisfied" not in (await console.get(f"/console/chat?conversation={conversation}")).text
        console.services.feedback_rules = FeedbackRules(csat=True)
        assert "How satisfied" in (await console.get(f"/console/chat?conversation={conversation}")).text
        await post(console, "/console/chat/feedback", {"conversation": conversation, "kind": "csat", "score": "4"})
        page = (await console.get(f"/console/chat?conversation={conversation}")).text
        assert 'name="score" value="4" aria-pressed="true"' in page

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"score": "7"}, 422), ({"score": "x"}, 422), ({}, 422), ({"comment": "x" * 2001}, 422),
            ({"score": "1", "conversation": "conv_other"}, 404), ({"score": "1", "turn": "turn_other"}, 404),
        ],
    )  # fmt: skip
    async def test_says_what_is_wrong(self, console: Console, fields: dict[str, str], status: int) -> None:
        conversation, _ = await talked(console)
        answer = await post(console, "/console/chat/feedback", {"conversation": conversation} | fields)
        assert answer.status_code == status
        assert await console.services.feedback.of_conversation("default", conversation) == []

    async def test_refuses_a_form_of_another_site(self, console: Console) -> None:
        conversation, _ = await talked(console)
        fields = {"conversation": conversation, "score": "1"}
        answer = await post(console, "/console/chat/feedback", fields, {"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403


class TestThePageForStaff:
    async def test_shows_what_users_said_masked_and_escaped(self, console: Console) -> None:
        assert "Nobody has said anything yet" in (await console.get("/console/feedback")).text
        conversation, turn = await talked(console)
        said = "<i>mail ana.lopez@example.com</i>"
        fields = {"conversation": conversation, "turn": turn, "comment": said}
        await post(console, "/console/chat/feedback", fields)
        page = (await console.get("/console/feedback")).text
        assert "&lt;i&gt;mail [email]&lt;/i&gt;" in page
        assert "ana.lopez" not in page
        assert f'href="/console/conversations/{conversation}#{turn}"' in page
        behind = (await console.get(f"/console/conversations/{conversation}")).text
        assert f'id="{turn}"' in behind
        assert "Comment: “&lt;i&gt;mail [email]&lt;/i&gt;” (user)" in behind
        assert f'/console/feedback?conversation={conversation}&amp;turn={turn}#give"' in behind

    async def test_records_what_staff_say_and_keeps_a_form_that_was_wrong(self, console: Console) -> None:
        conversation, _ = await talked(console)
        fields = {"conversation": conversation, "turn": "", "kind": "csat", "score": "9", "comment": "by phone"}
        wrong = await post(console, "/console/feedback", fields)
        assert wrong.status_code == 422
        assert "csat" in wrong.text
        assert "by phone" in wrong.text
        right = await post(console, "/console/feedback", fields | {"score": "2"})
        assert (right.status_code, right.headers["location"]) == (303, "/console/feedback")
        (given,) = await console.services.feedback.of_conversation("default", conversation)
        assert (given.kind, given.score, given.source) == ("csat", 2, "staff")
