"""The scorecard page, as a browser without scripts sees it."""

from handrail.flows.feedback import VerdictWanted, give_verdict
from handrail.flows.scorecard import DAY
from tests.console.console import Console
from tests.flows.test_feedback import RITA
from tests.flows.test_objectives import happened
from tests.reports.test_reviews import trip
from tests.reports.test_scorecard import fact, keep


class TestScorecardPage:
    async def test_says_what_is_not_measured_yet(self, console: Console) -> None:
        page = (await console.get("/console/scorecard")).text
        assert "not measured yet" in page
        assert "None yet." in page

    async def test_shows_numbers_with_their_sample_and_keeps_a_baseline(self, console: Console) -> None:
        now = console.services.clock.micros()
        rows = [fact(n, now - DAY, agent="echo", is_resolved=int(n % 2)) for n in range(100)]
        await keep(console.services.db, rows)
        page = (await console.get("/console/scorecard?days=7")).text
        assert "50.0 % (40.4 % to 59.6 %)" in page
        assert "100 conversations</a>, 100 users" in page
        headers = {"sec-fetch-site": "same-origin"}
        fields = {"days": "7", "agent": "echo", "note": "<before>"}
        kept = await console.client.post("/console/scorecard", data=fields, headers=headers)
        assert kept.status_code == 303
        after = (await console.get("/console/scorecard")).text
        assert "Baseline 1, measured" in after
        assert "&lt;before&gt;" in after
        assert "<before>" not in after

    async def test_says_which_choice_it_does_not_know_and_what_it_shows_instead(self, console: Console) -> None:
        for address, status, said in (
            (
                "days=ever",
                422,
                "days &#39;ever&#39; is not known; use one of 1, 7, 28, 90. These are the figures of 7 days",
            ),
            ("agnet=echo", 422, "this page has no filter &#39;agnet&#39;"),
            ("agent=ecco", 404, "no agent &#39;ecco&#39; has a release in use; agents: echo"),
            ("intent=refnud", 404, "there is no intent &#39;refnud&#39;"),
        ):
            answer = await console.get(f"/console/scorecard?{address}")
            assert (answer.status_code, said in answer.text) == (status, True), address

    async def test_leads_from_no_measure_of_reviews_to_conversations_that_nobody_reviewed(
        self, console: Console
    ) -> None:
        services, conversation = console.services, await console.say("hello there")
        (turn, *_) = await services.conversations.turns("default", conversation, limit=1)
        await trip(services.db, turn.id, "grounding")
        now = services.clock.micros()
        await keep(services.db, [fact(0, now, conversation_id=conversation, agent="echo")])
        wanted = VerdictWanted(turn.id, "routine", 1.0, intent_correct=True, hallucination=True)
        await give_verdict(services, RITA, conversation, wanted)
        page = (await console.get("/console/scorecard?days=7")).text
        for title in ("Intent accuracy", "Hallucination rate", "Grounding check was right"):
            row = page.partition(f"<summary>{title}</summary>")[2].partition("</tr>")[0]
            assert "1 reviewed turn" in row
            assert "href" not in row

    async def test_shows_error_budgets_burn_rates_and_errors_by_type(self, console: Console) -> None:
        services = console.services
        at = services.clock.micros() - 60_000_000
        await happened(services, at, 400, 40, agent="echo", error="<deadline>", seconds={1.0: 400})
        page = (await console.get("/console/scorecard?days=7")).text
        assert "used up 20.0 times" in page
        assert "Burn rate in 1 h: 20.0, in 5 min: 20.0 (limit 14.4 in both): too fast" in page
        assert "&lt;deadline&gt;" in page
        assert "40 of 400 turns" in page

    async def test_keeps_no_baseline_of_nothing_and_says_why(self, console: Console) -> None:
        headers = {"sec-fetch-site": "same-origin"}
        refused = await console.client.post("/console/scorecard", data={"days": "7"}, headers=headers)
        assert refused.status_code == 422
        assert "no conversation has closed" in refused.text

    async def test_takes_no_form_of_another_site(self, console: Console) -> None:
        headers = {"sec-fetch-site": "cross-site"}
        assert (await console.client.post("/console/scorecard", data={}, headers=headers)).status_code == 403
