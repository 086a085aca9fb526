"""What waits for a person while somebody chats in the terminal: its outcome is shown as soon as it is there."""

import asyncio
import sys
from typing import Any

import aiohttp

ANSWER = "/answer "
LOOK_SECONDS = 2.0
MOST_TURNS = 20


class Waiting:
    """Looks after the parked turns of one conversation, beside the prompt."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, str] = {}

    def watch(self, turn_id: str) -> None:
        """Follow a turn that waits until it is over."""
        known = self._watchers.get(turn_id)
        if known is None or known.done():
            self._watchers[turn_id] = asyncio.get_running_loop().create_task(self._follow(turn_id))

    async def find(self, conversation: str) -> None:
        """Follow what an earlier chat left waiting in this conversation."""
        body = await self._get(f"/v1/conversations/{conversation}")
        turns = dict.fromkeys(each["turn_id"] for each in (body or {}).get("messages", ()))
        for turn_id in list(turns)[-MOST_TURNS:]:
            turn = await self._get(f"/v1/turns/{turn_id}")
            if turn is not None and turn["status"] == "requires_action":
                print("An action of this conversation waits for a person.", file=sys.stderr)
                self.watch(turn_id)

    async def answer(self, text: str) -> None:
        """Answer the oldest question of an approver."""
        if not self._asked:
            print("! nobody has asked you anything that needs an answer")
            return
        question_id, turn_id = next(iter(self._asked.items()))
        body = {"question_id": question_id, "answer": text}
        async with self._session.post(f"/v1/turns/{turn_id}/answers", json=body) as response:
            if response.status == 200:
                print("(your answer went to the person who decides)")
            else:
                print(f"! {(await response.json())['error']['message']}")
        # Answered now, answered before or too late: it is not asked again.
        if response.status in (200, 404, 409):
            del self._asked[question_id]

    async def leave(self, conversation: str) -> None:
        """Say what is left waiting, and stop looking."""
        left = [task for task in self._watchers.values() if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
            text = "An action still waits for a person; its outcome will stand in the conversation:"
            print(f"{text} `handrail chat --conversation {conversation}`", file=sys.stderr)

    async def _follow(self, turn_id: str) -> None:
        while True:
            turn = await self._get(f"/v1/turns/{turn_id}")
            if turn is not None and turn["status"] not in ("requires_action", "running", "queued"):
                content = (turn["message"] or {}).get("content", "")
                _interject(f"agent, on what waited> {content}")
                return
            if turn is not None and turn["status"] == "requires_action":
                await self._show_questions(turn_id)
            await asyncio.sleep(LOOK_SECONDS)

    async def _show_questions(self, turn_id: str) -> None:
        body = await self._get(f"/v1/turns/{turn_id}/approvals")
        for approval in (body or {}).get("data", ()):
            for question in approval["questions"]:
                if question["answer"] is None and question["id"] not in self._asked:
                    self._asked[question["id"]] = turn_id
                    _interject(f"approver asks> {question['question']}\n(answer with {ANSWER}and your words)")

    async def _get(self, path: str) -> Any:
        """The body, or None when the server does not answer just now; the next look tries again."""
        try:
            async with self._session.get(path) as response:
                return await response.json() if response.status == 200 else None
        except aiohttp.ClientError:
            return None


def _interject(text: str) -> None:
    """Say something while the prompt waits for a line, and show the prompt again."""
    print(f"\n{text}\nyou> ", end="", flush=True)
