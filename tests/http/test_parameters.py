"""What an address asks for is answered, or refused by name: no parameter is ignored."""

import re

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from handrail.core.errors import HandrailError
from handrail.http.errors import ApiError
from handrail.http.parameters import require_known
from handrail.http.routes.scorecard import router
from tests.declared import only
from tests.http.api import Api
from tests.http.documented import document

SCORECARD = next(each for each in router.routes if getattr(each, "path", "") == "/v1/scorecard")
OPERATIONS = [
    (method.upper(), path) for path, item in document()["paths"].items() if path.startswith("/v1/") for method in item
]


def request(query: bytes, route: object = SCORECARD) -> Request:
    return Request({"type": "http", "headers": [], "query_string": query, "route": route})


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_no_route_ignores_a_parameter_that_it_does_not_have(api: Api, method: str, path: str) -> None:
    answer = await api.client.request(method, re.sub(r"\{\w+\}", "x", path) + "?agnet=shop")
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "agnet")
    known = [each["name"] for each in document()["paths"][path][method.lower()].get("parameters", ())
             if each["in"] == "query"]  # fmt: skip
    assert error["message"].endswith(f"there are: {', '.join(known)}" if known else "it takes none")


@pytest.mark.parametrize(
    ("address", "param", "said"),
    [
        ("/v1/dashboard?range=bad", "range", "range 'bad' is not known; use one of 24h, 7d, 28d, 90d"),
        ("/v1/scorecard?range=7d", "range", "no parameter 'range'"),
        ("/v1/scorecard?since=yesterday", "since", "since 'yesterday' is not a time"),
        ("/v1/scorecard?baseline=0", "baseline", "baseline '0' is not a number of at least 1"),
        ("/v1/scorecard?agent=shop&agent=echo", "agent", "agent is given twice"),
        ("/v1/conversations?limit=201", "limit", "limit '201' is not a number from 1 to 200"),
        ("/v1/approvals?mine=maybe", "mine", "mine 'maybe' is not known; use one of true, false"),
        ("/v1/usage?since=2026-01-01T08:00", "since", "is within a day"),
        ("/v1/conversation-log?words=some", "words", "use one of mask, keep"),
    ],
)
async def test_a_value_that_can_not_be_meant_is_told_with_what_can(
    api: Api, address: str, param: str, said: str
) -> None:
    answer = await api.get(address)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", param)
    assert said in error["message"]


async def test_who_is_not_known_hears_that_first(api: Api) -> None:
    await api.key()
    assert (await api.get("/v1/scorecard?agnet=x")).status_code == 401


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from([b"agent", b"since", b"=", b"&", b"%", b"\xff"])).map(b"".join)
)
def test_any_address_is_known_or_refused_by_name(query: bytes) -> None:
    told = request(query)
    with only(HandrailError):
        require_known(told)
        assert set(told.query_params) <= {"agent", "since", "until", "release_id", "intent", "channel", "baseline"}


async def test_a_socket_takes_none_either(live: Api) -> None:
    conversation = await live.open()
    with pytest.raises(WSServerHandshakeError):
        async with ClientSession() as session, session.ws_connect(f"{live.socket_url(conversation)}?agnet=x"):
            pass


def test_a_route_of_the_hot_path_takes_no_parameter() -> None:
    require_known(request(b"", None))
    with pytest.raises(ApiError, match="it takes none"):
        require_known(request(b"stream=true", None))
