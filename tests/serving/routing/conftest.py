from typing import cast

import pytest

from handrail.serving.routing import IntentHead, TrainingReport, train
from tests.serving.routing.utterances import examples


@pytest.fixture(scope="session")
def trained() -> tuple[IntentHead, TrainingReport]:
    return train(examples())


@pytest.fixture(scope="session")
def head(trained: tuple[IntentHead, TrainingReport]) -> IntentHead:
    return cast(IntentHead, trained[0])
