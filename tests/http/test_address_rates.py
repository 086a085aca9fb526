"""What one address may ask for, and how often it may come with keys that do not work."""

from collections.abc import AsyncIterator

import pytest

from handrail.core.addresses import networks_of
from handrail.core.clock import FrozenClock
from handrail.core.principal import Role
from handrail.flows.attempts import FailedAttempts
from handrail.flows.audit import NOBODY
from handrail.http.client_address import Proxies
from handrail.http.edge import Edge
from handrail.protection.audit import AuditQuery
from handrail.protection.auth import Authenticator
from handrail.protection.rate_limits import AddressRate, Rate, RateLimiter
from tests.flows.world import World
from tests.http.api import Api, api_over

FAILURES = 3
ANA = "203.0.113.9"


def counted(world: World, name: str) -> float:
    line = next(
        (line for line in world.services.metrics.render().decode().splitlines() if line.startswith(name)), f"{name} 0"
    )
    return float(line.rpartition(" ")[2])


@pytest.fixture(params=[5])
async def api(world: World, clock: FrozenClock, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """Behind a proxy, with room for so many requests of an address and three keys that do not work."""
    services = world.services
    metrics = services.metrics
    services.address_rates = AddressRate(
        RateLimiter(clock, per_minute=60, burst=request.param, what="requests from one address"),
        on_refused=lambda: metrics.refused_by_rate("requests"),
    )
    failures = Rate(RateLimiter(clock, per_minute=FAILURES, burst=FAILURES, what="keys that do not work"))
    attempts = FailedAttempts(failures, services.audit, clock, lambda: metrics.refused_by_rate("credentials"))
    services.authenticator = Authenticator(services.keys, clock, attempts=attempts)
    async with api_over(world, edge=Edge(Proxies(networks_of("127.0.0.1")))) as api:
        await api.key("somebody")
        yield api


class TestRequests:
    async def test_beyond_the_burst_are_refused_unread_with_what_to_do(self, api: Api, clock: FrozenClock):
        answers = [await api.get("/v1/conversations", x_forwarded_for=ANA) for _ in range(7)]
        assert [each.status_code for each in answers] == [401] * 5 + [429] * 2
        refused = answers[-1]
        assert refused.json()["error"]["code"] == "rate_limited"
        assert refused.headers["ratelimit"] == '"requests-from-one-address";r=0;t=2'
        assert refused.headers["ratelimit-policy"] == '"requests-from-one-address";q=5'
        assert refused.headers["retry-after"] == "2"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert counted(api.world, 'handrail_rate_limited_total{rate="requests"}') == 2
        clock.advance(1.0)
        assert (await api.get("/v1/conversations", x_forwarded_for=ANA)).status_code == 401

    async def test_of_other_addresses_are_not_held_up_and_a_network_of_ipv6_is_one(self, api: Api):
        for number in range(5):
            await api.get("/console/sign-in", x_forwarded_for=f"2001:db8:1:2::{number}")
        assert (await api.get("/console/sign-in", x_forwarded_for="2001:db8:1:2:ffff::1")).status_code == 429
        assert (await api.get("/console/sign-in", x_forwarded_for="2001:db8:1:3::1")).status_code == 200
        assert (await api.get("/console/sign-in", x_forwarded_for=ANA)).status_code == 200

    async def test_what_a_client_writes_itself_chooses_no_address(self, api: Api):
        for number in range(5):
            await api.get("/console/sign-in", x_forwarded_for=f"198.51.100.{number}, {ANA}")
        assert (await api.get("/console/sign-in", x_forwarded_for=f"198.51.100.77, {ANA}")).status_code == 429

    async def test_of_whom_a_proxy_can_not_name_are_counted_together(self, api: Api):
        for name in ("unknown", "_hidden", "", "127.0.0.1", "::1"):
            await api.get("/console/sign-in", x_forwarded_for=name)
        assert (await api.get("/console/sign-in", x_forwarded_for="nobody")).status_code == 429

    async def test_that_ask_whether_it_lives_are_answered_and_those_of_this_machine_not_counted(self, api: Api):
        for _ in range(20):
            assert (await api.get("/healthz", x_forwarded_for=ANA)).status_code == 200
            assert (await api.get("/console/sign-in")).status_code == 200
        answers = [await api.get("/metrics", x_forwarded_for=ANA) for _ in range(6)]
        assert answers[-1].status_code == 429


@pytest.mark.parametrize("api", [1000], indirect=True)
class TestKeysThatDoNotWork:
    async def test_are_looked_at_so_often_a_minute_and_address_whatever_they_look_like(
        self, api: Api, clock: FrozenClock
    ):
        made_up = [f"hr_{'a' * 12}_{'b' * 43}", "hr_x", "a.b.c", "something else"]
        outcomes = [await self.attempt(api, key) for key in made_up]
        assert outcomes == [401, 401, 401, 429]
        assert counted(api.world, 'handrail_rate_limited_total{rate="credentials"}') == 1
        clock.advance(60 / FAILURES)
        assert await self.attempt(api, "hr_y") == 401

    async def test_cost_no_look_at_the_store_once_there_were_too_many(self, api: Api, clock: FrozenClock):
        for number in range(FAILURES):
            await self.attempt(api, f"hr_{number}")
        await api.world.services.db.close()
        assert await self.attempt(api, f"hr_{'a' * 12}_{'b' * 43}") == 429

    async def test_hold_up_no_key_that_worked_before_and_keep_a_new_one_waiting(self, api: Api, clock: FrozenClock):
        """Behind one address may be a whole office."""
        key, other = await api.key("ana"), await api.key("ben")
        assert await self.attempt(api, key) == 200
        for number in range(FAILURES + 1):
            await self.attempt(api, f"hr_{number}")
        api.world.services.authenticator.forget()
        assert await self.attempt(api, key) == 200
        assert await self.attempt(api, other) == 429
        assert await self.attempt(api, other, source="198.51.100.1") == 200
        clock.advance(60 / FAILURES)
        assert await self.attempt(api, other) == 200

    async def test_that_worked_and_were_revoked_count_as_well(self, api: Api, clock: FrozenClock):
        services = api.world.services
        made = await services.keys.create(
            tenant_id="default", subject="ana", role=Role.END_USER, at=services.clock.micros(),
            scopes=[],
        )  # fmt: skip
        assert await self.attempt(api, made.text) == 200
        await services.keys.revoke("default", made.key.id, at=services.clock.micros())
        services.authenticator.forget()
        outcomes = [await self.attempt(api, made.text) for _ in range(FAILURES + 1)]
        assert outcomes == [401, 401, 401, 429]

    async def test_are_on_record_once_a_minute_without_the_address_itself(self, api: Api, clock: FrozenClock):
        for number in range(FAILURES + 5):
            await self.attempt(api, f"hr_{number}")
        await api.world.services.audit.flush()
        found = await api.world.services.audit.store.search(AuditQuery(NOBODY, target="credentials:address"))
        assert [(each.action, each.outcome) for each in found] == [("access.denied", "denied")]
        assert ANA not in str(found)

    async def test_no_key_at_all_is_no_attempt(self, api: Api, clock: FrozenClock):
        for _ in range(FAILURES + 3):
            assert (await api.get("/v1/conversations", x_forwarded_for=ANA)).status_code == 401

    async def attempt(self, api: Api, key: str, source: str = ANA) -> int:
        return (await api.get("/v1/conversations", key=key, x_forwarded_for=source)).status_code
