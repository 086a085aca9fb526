"""What `success` in agent.yaml may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from handrail.serving.agents.schema import AgentConfig
from handrail.serving.agents.success import Success


def success(**said: Any) -> Success:
    return Success.model_validate(said)


class TestSuccess:
    def test_has_defaults_from_day_one(self) -> None:
        config = AgentConfig(name="shop")
        assert config.success.resolution_window_hours == 24
        assert config.success.objective.availability == 0.995
        assert config.success.in_usd == 1.0

    def test_names_the_known_measures_when_a_target_is_misspelt(self) -> None:
        with pytest.raises(ValidationError, match=r"no measure is called 'resolution'; use one of .*autonomous_resol"):
            success(targets={"resolution": 0.6})

    def test_asks_for_the_rate_of_another_currency(self) -> None:
        with pytest.raises(ValidationError, match="what one EUR is in US dollars"):
            success(currency="EUR", human_cost={"amount": 6.5})
        assert success(currency="EUR", usd=1.1, human_cost={"amount": 6.5}).in_usd == 1.1

    def test_refuses_an_objective_without_room_for_error(self) -> None:
        with pytest.raises(ValidationError):
            success(objective={"availability": 1.0})
