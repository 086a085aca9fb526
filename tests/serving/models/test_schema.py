from typing import Any

import pytest
from pydantic import ValidationError

from handrail.core.documents import ProjectError, parse_yaml, validate
from handrail.serving.models import ModelConfig, ModelTiers

REMOTE: dict[str, Any] = {"provider": "openai_compatible", "base_url": "https://models.example/v1", "model": "big"}


def refused(**values: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        ModelConfig.model_validate({**REMOTE, **values})
    return str(raised.value)


class TestModelConfig:
    @pytest.mark.parametrize(
        ("more", "called"),
        [({}, "big"), ({"version": "big-2026-08-01"}, "big-2026-08-01"), ({"fine_tune_id": "ft:big:1"}, "ft:big:1")],
    )
    def test_calls_the_most_exact_name_given(self, more: dict[str, str], called: str) -> None:
        assert ModelConfig.model_validate({**REMOTE, **more}).called_name == called

    def test_sends_only_the_parameters_that_are_set(self) -> None:
        config = ModelConfig.model_validate({**REMOTE, "parameters": {"temperature": 0, "extra": {"top_k": 5}}})
        assert config.parameters.as_sent() == {"temperature": 0, "top_k": 5}

    def test_names_what_is_missing(self) -> None:
        assert "needs 'model'" in refused(model=None)
        assert "needs 'base_url' or 'base_url_env'" in refused(base_url=None)

    def test_refuses_what_contradicts_itself(self) -> None:
        assert "keep one" in refused(version="a", fine_tune_id="b")
        assert "'replies'" in refused(replies=["hi"])
        assert "'replies'" in refused(provider="scripted")

    def test_refuses_a_parameter_that_is_ours(self) -> None:
        assert "'stream' is set by Handrail" in refused(parameters={"extra": {"stream": False}})

    def test_refuses_names_it_does_not_know_with_file_and_line(self) -> None:
        document = parse_yaml("agent.yaml", "provider: extractive\ntemprature: 1\n")
        with pytest.raises(ProjectError, match=r"agent.yaml:2: 'temprature' is not known"):
            validate(document, ModelConfig)


class TestModelTiers:
    def test_tiers_may_fall_back_to_each_other(self) -> None:
        tiers = {"small": {**REMOTE, "fallbacks": ["large"]}, "large": {**REMOTE, "fallbacks": ["small"]}}
        assert set(ModelTiers.model_validate(tiers).root) == {"small", "large"}

    @pytest.mark.parametrize(("fallback", "why"), [("huge", "is not a tier; use one of 'small'"), ("small", "itself")])
    def test_a_fallback_must_be_another_tier(self, fallback: str, why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            ModelTiers.model_validate({"small": {**REMOTE, "fallbacks": [fallback]}})
