"""The days that are simulated: usual ones, and those on which every rule of alerts fires and is resolved. Pure."""

from decimal import Decimal

from handrail.testing.simulation.days import DAY, HOUR, Incident, Plan, Trouble

MINUTE = 60.0
# In US dollars, of each conversation of a day: what usual days keep below, and one with a spike does not.
DAILY_BUDGET = Decimal("0.005")
# The first week is quiet: some rules compare with the week before.
QUIET_DAYS = 7
# What users said of a bad day counts until a day later.
EVERY_RULE_DAYS = QUIET_DAYS + 2


def plan_days(seed: int, *, until: int, days: int, conversations: int) -> Plan:
    """Whole days that end at `until` (microseconds); on the last of them much goes wrong.

    All of it is over at the end, but for refunds that wait for somebody to approve them.
    """
    seconds = days * DAY
    starts_at = until - int(seconds * 1e6)
    return Plan(seed, starts_at, seconds, conversations, _users(conversations), _usual(seconds, starts_at))


def _users(conversations: int) -> int:
    return max(8, conversations // 3)


def _usual(seconds: float, starts_at: int) -> list[Incident]:
    def before_end(what: Trouble, hours: float, minutes: float) -> Incident:
        begins = seconds - hours * HOUR
        return Incident(what, begins, begins + minutes * MINUTE)

    # A budget of the day is whole again at midnight.
    midnight = seconds - (starts_at / 1e6 + seconds) % DAY
    spree = max(0.0, midnight - 4 * HOUR)
    return [
        before_end("slow", 20, 50),
        before_end("rush", 20, 50),
        before_end("approvers_away", 14, 90),
        before_end("tools_down", 10, 25),
        before_end("rush", 10, 45),
        before_end("injections", 9.8, 15),
        before_end("model_hangs", 7.5, 15),
        before_end("rush", 7.5, 30),
        before_end("rush", 7.5, 15),
        before_end("rush", 7.5, 15),
        # What is asked only when another fails is not known to be back before that.
        before_end("model_down", 5, 30),
        before_end("rush", 5, 50),
        Incident("costly", spree, spree + HOUR),
        Incident("rush", spree, spree + HOUR, 0.4),
        before_end("approvers_away", 0.75, 45),
        before_end("rush", 0.75, 15),
    ]


def plan_every_rule(seed: int, *, until: int, conversations: int, look_seconds: float = 900.0) -> Plan:
    """A quiet week with a busy hour a day, a day on which all goes wrong, and one on which all is well again."""
    midnight = until - until % int(DAY * 1e6)
    starts_at = midnight - int(EVERY_RULE_DAYS * DAY * 1e6)
    seconds = (until - starts_at) / 1e6
    return Plan(seed, starts_at, seconds, conversations, _users(conversations), _every_rule(), look_seconds, usual=0.3)


def _every_rule() -> list[Incident]:
    """By the hour of the bad day. What needs many people to be seen brings them; see `TOPICS` for what they want."""

    def at(what: Trouble, hour: float, minutes: float, strength: float = 1.0, day: int = QUIET_DAYS) -> Incident:
        begins = day * DAY + hour * HOUR
        return Incident(what, begins, begins + minutes * MINUTE, strength)

    busy_hours = [at("rush", 9, 70, 4, day) for day in range(QUIET_DAYS + 3) if day != QUIET_DAYS]
    return [
        *busy_hours,
        at("poor_answers", 1, 60), at("rush", 1, 60, 15),
        at("nobody_comes", 8.8, 100), at("rush", 10.5, 30, 4),
        at("tools_down", 12, 25), at("rush", 12, 25, 20), at("injections", 12, 25),
        at("model_hangs", 13.5, 15), at("channel_down", 13.5, 40), at("rush", 13.5, 15, 70), at("rush", 13.75, 15, 10),
        at("model_down", 14.1, 30), at("rush", 14.1, 30, 12),
        at("slow", 15, 40), at("rush", 15, 40, 12), at("tracing_stops", 15, 20),
        at("counting_stops", 16.8, 20), at("rush", 16.8, 20, 5),
        at("approvers_away", 18, 60), at("rush", 18, 20, 16),
        at("sealing_stops", 19.1, 50), at("rush", 19.1, 20, 8),
        at("disk_full", 20, 30),
        at("costly", 21, 45), at("rush", 21, 45, 8),
    ]  # fmt: skip
