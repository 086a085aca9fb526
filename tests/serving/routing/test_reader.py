import numpy as np
import pytest

from handrail.serving.routing import IntentHead
from handrail.serving.routing.embedding import shared_embedding
from handrail.serving.routing.logistic import sigmoid, sigmoid_of
from handrail.serving.routing.ngrams import Terms
from handrail.serving.routing.parts import Parts
from handrail.serving.routing.reader import Reader
from handrail.serving.routing.signals import Neighbours, read_scores
from tests.serving.routing.utterances import SAID, STRANGE

TEXTS = [*(text for said in SAID.values() for text in said[:4]), *STRANGE, "qqqq zzzz", "ﷺ ﷺ"]


@pytest.fixture(scope="module")
def parts(head: IntentHead) -> Parts:
    return head._parts  # pyright: ignore[reportPrivateUsage]


class TestReader:
    @pytest.mark.parametrize("text", TEXTS)
    def test_one_table_gives_what_the_parts_give_one_by_one(self, head: IntentHead, parts: Parts, text: str) -> None:
        terms = head._vocabulary.terms(text)  # pyright: ignore[reportPrivateUsage]
        vector = shared_embedding().vector(text)

        logits, trust, doubt = one_by_one(parts, terms, vector)
        found = Reader(parts).read(terms, vector)

        assert found.ranked[0] == logits.argmax()
        assert found.shares == pytest.approx(np.exp(logits - logits.max())[found.ranked], rel=1e-3)
        assert found.out_of_scope == pytest.approx(doubt, abs=1e-3)
        assert found.confidence == pytest.approx(parts.curve.at(trust * (1 - doubt)), abs=1e-3)


def one_by_one(parts: Parts, terms: Terms, vector: np.ndarray) -> tuple[np.ndarray, float, float]:
    coefficients = parts.coefficients.astype(np.float64)
    logits = terms.weights @ coefficients[terms.ids] + vector @ parts.vector_coefficients + parts.bias
    logits = logits + parts.network.scores(vector.astype(np.float64))
    signals = np.array(
        read_scores(logits, terms.known_words, vector @ parts.neighbours.directions, parts.neighbours).signals
    )
    assert parts.gate is not None
    stranger = terms.weights @ parts.gate.stranger_terms[terms.ids] + vector @ parts.gate.stranger_vector
    evidence = np.append(signals, stranger + parts.gate.stranger_bias)
    trust = float(parts.trust.chance(signals[None])[0])
    return logits, trust, float(parts.gate.doubt(evidence[None], vector[None])[0])


class TestSignals:
    near = Neighbours(np.eye(2, dtype=np.float32), np.array([[1, 0], [0, 1]], dtype=np.float32), np.array([0, 1, 2]))

    def test_name_the_likeliest_first_and_share_by_odds(self) -> None:
        logits = np.log(np.array([0.2, 0.7], dtype=np.float32))

        found = read_scores(logits, 1.0, np.array([0, 2], dtype=np.float32), self.near)

        assert found.ranked == [1, 0]
        assert found.shares == pytest.approx([1, 2 / 7])

    def test_cosines_do_not_depend_on_the_vectors_length(self) -> None:
        logits = np.array([0, 1], dtype=np.float32)
        short, long = (np.array([3, 4], dtype=np.float32) * length for length in (0.1, 10))

        found = [read_scores(logits, 1.0, along, self.near).signals[-2:] for along in (short, long)]

        assert found[0] == pytest.approx([0.8, 0.6])
        assert found[1] == pytest.approx([0.8, 0.6])

    def test_certainty_is_large_and_finite(self) -> None:
        odds = read_scores(np.array([0, 500], dtype=np.float32), 1.0, np.zeros(2, dtype=np.float32), self.near).signals

        assert 5 < odds[0] < 20
        assert np.isfinite(odds).all()


class TestOneNumber:
    @pytest.mark.parametrize("score", [-1e9, -30.0, -1.5, 0.0, 2.0, 1e9])
    def test_is_as_many(self, score: float) -> None:
        assert sigmoid_of(score) == pytest.approx(float(sigmoid(np.array([score]))[0]))
