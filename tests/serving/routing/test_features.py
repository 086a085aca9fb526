import numpy as np
import pytest

from handrail.serving.routing.bayes import fit_likelihoods, likelihoods
from handrail.serving.routing.embedding import shared_embedding
from handrail.serving.routing.logistic import fit_logistic, sigmoid
from handrail.serving.routing.ngrams import CHARACTER_WEIGHT, WORD_WEIGHT, Vocabulary, clean
from handrail.serving.routing.rows import Rows, seen_from

TEXTS = ["renew my book", "renew my other book", "when do you open", "open the door, open it"]


class TestTerms:
    def test_agree_with_scikit_learn(self) -> None:
        """The library's vectorisers are what this is a faster copy of."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+(?:'\w+)?")
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        own = Vocabulary.of(TEXTS)
        for library, weight, block in (
            (words, WORD_WEIGHT, slice(None, len(own.words))),
            (characters, CHARACTER_WEIGHT, slice(len(own.words), None)),
        ):
            expected = np.sort(library.fit_transform(TEXTS).toarray() * weight, axis=1)
            dense = np.zeros((len(TEXTS), len(own)))
            for row, text in enumerate(TEXTS):
                found = own.terms(text)
                dense[row, found.ids] = found.weights

            assert np.allclose(np.sort(dense[:, block], axis=1), expected, atol=1e-6)

    def test_unknown_words_are_counted_and_left_out(self) -> None:
        found = Vocabulary.of(TEXTS).terms("renew zzzz qqqq open")

        assert found.known_words == 0.5
        assert len(found.ids) > 0

    def test_nothing_known_is_nothing(self) -> None:
        found = Vocabulary.of(TEXTS).terms("zzzz")

        assert found.known_words == 0

    def test_reading_a_text_twice_gives_the_same(self) -> None:
        """The cached ids of a token are shared: sorting them in place once changed later queries."""
        own = Vocabulary.of(TEXTS)

        first, second = own.terms("door"), own.terms("door")

        assert first.ids.tolist() == second.ids.tolist()
        assert own.terms("door renew door").ids.tolist() == own.terms("door renew door").ids.tolist()

    def test_of_many_texts_rare_pairs_and_pieces_are_left_out_and_words_stay(self) -> None:
        common = ["renew my book"] * 2000

        few, many = Vocabulary.of([*TEXTS, "quartz vase"]), Vocabulary.of([*common, "quartz vase"])

        assert len(few.terms("quartz vase").ids) > 30
        assert many.terms("quartz vase").ids.tolist() == [row for row in range(len(many.words)) if many.idf[row] > 7]
        assert many.terms("quartz vase").known_words == 1

    def test_a_text_that_grows_in_lower_case_is_read(self) -> None:
        text = clean("\u0130 " * 1000)

        assert np.isfinite(Vocabulary.of([text]).terms(text).weights).all()

    def test_text_is_cut_lowered_and_made_encodable(self) -> None:
        assert clean("DON’T \ud800") == "don't ?"
        assert len(clean("a" * 5000)) == 2000


class TestLikelihoods:
    def test_speak_for_the_intent_whose_examples_have_the_word(self) -> None:
        vocabulary = Vocabulary.of(TEXTS)
        rows = Rows.read(TEXTS, vocabulary, shared_embedding())

        table = fit_likelihoods(rows, np.array([0, 0, 1, 1]), 2, len(vocabulary.words))

        asked = Rows.read(["renew", "open it", "zzzz"], vocabulary, shared_embedding())
        found = likelihoods(table, asked)
        assert found[0, 0] > found[0, 1]
        assert found[1, 0] < found[1, 1]
        assert found[2].tolist() == [0, 0]
        assert np.allclose(table.mean(axis=1), 0, atol=1e-5)


class TestHeldOutRows:
    def test_look_as_they_would_to_a_head_that_never_saw_them(self) -> None:
        vocabulary = Vocabulary.of(TEXTS)
        rows = Rows.read(TEXTS, vocabulary, shared_embedding())
        training, held_out = rows.take(np.array([0, 2])), rows.take(np.array([1]))

        seen = seen_from(training, held_out, vocabulary)

        fresh = Vocabulary.of([TEXTS[0], TEXTS[2]]).terms(TEXTS[1])
        assert seen.terms.nnz == len(fresh.ids)
        assert seen.known_words[0] == pytest.approx(fresh.known_words)
        assert np.sqrt(seen.terms.power(2).sum()) == pytest.approx(np.hypot(WORD_WEIGHT, CHARACTER_WEIGHT), rel=1e-5)


class TestEmbedding:
    def test_vectors_have_length_one_and_are_zero_for_nothing(self) -> None:
        embedding = shared_embedding()

        assert float(np.linalg.norm(embedding.vector("renew my book"))) == pytest.approx(1, abs=1e-5)
        assert not embedding.vector("").any()

    def test_like_meanings_lie_nearer_than_unlike_ones(self) -> None:
        vector = shared_embedding().vector

        same = float(vector("renew my book").dot(vector("extend the loan of my novel")))

        assert same > float(vector("renew my book").dot(vector("what is the speed of sound"))) + 0.1

    def test_one_copy_serves_the_process(self) -> None:
        assert shared_embedding() is shared_embedding()


class TestLogistic:
    def test_without_evidence_the_offset_stands(self) -> None:
        weights, bias = fit_logistic(np.zeros((0, 2)), np.zeros(0, dtype=bool), np.zeros(0), 1.0)

        assert weights.tolist() == [0, 0]
        assert bias == 0

    def test_rows_of_one_kind_are_fine(self) -> None:
        weights, bias = fit_logistic(np.ones((5, 1)), np.ones(5, dtype=bool), np.ones(5), 1.0)

        assert 0.5 < float(sigmoid(np.array(weights[0] + bias))) < 1

    def test_finds_the_direction(self) -> None:
        inputs = np.linspace(-3, 3, 200)[:, None]

        weights, bias = fit_logistic(inputs, inputs[:, 0] > 0.5, np.ones(200), 0.01)

        assert weights[0] > 1
        assert -bias / weights[0] == pytest.approx(0.5, abs=0.1)
