"""A small data set of our own: a library's desk, four intents."""

from handrail.serving.routing.training import Example

SAID = {
    "renew_loan": (
        "can I keep this book a little longer",
        "renew my books please",
        "extend the loan of my novel",
        "I need two more weeks with it",
        "prolong what I have borrowed",
        "I'd like to renew a loan",
        "my books are due tomorrow, can I keep them",
        "is it possible to extend the due date",
        "give me more time for this book",
        "renew everything on my card",
        "I haven't finished reading, can I renew",
        "please extend both of my loans",
    ),
    "opening_hours": (
        "when do you open",
        "what are your opening hours",
        "are you open on sunday",
        "until when is the library open today",
        "what time do you close",
        "is the reading room open at night",
        "hours on public holidays",
        "do you close at noon",
        "opening times of the branch",
        "when does the library close on friday",
        "are you open right now",
        "which days are you closed",
    ),
    "pay_fine": (
        "how do I pay my fine",
        "I want to settle a late fee",
        "what do I owe you",
        "pay the overdue charge",
        "can I pay the fee by card",
        "there is a fine on my account",
        "why was I charged a late fee",
        "clear my outstanding fees",
        "how high is the fine for a late book",
        "I got a bill for an overdue book",
        "settle my charges online",
        "pay what I owe",
    ),
    "reserve_room": (
        "book a study room for tomorrow",
        "is a group room free at three",
        "I need a room for four people",
        "reserve the small meeting room",
        "can we get a quiet room this afternoon",
        "how do I book a study space",
        "hold a room for our reading circle",
        "any rooms available on monday",
        "cancel nothing, just book room two",
        "we want to reserve a room for an hour",
        "find me a free study room",
        "room reservation for next week",
    ),
}

STRANGE = (
    "who painted the sunflowers",
    "boil an egg for how long",
    "what is the speed of sound",
    "my bicycle has a flat tyre",
    "sing me a song",
    "which planet has the most moons",
)


def examples(of_each: int = 12, intents: int = 4) -> list[Example]:
    return [Example(text, intent) for intent in list(SAID)[:intents] for text in SAID[intent][:of_each]]
