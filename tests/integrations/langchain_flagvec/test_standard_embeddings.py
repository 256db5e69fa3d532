"""LangChain's own tests of embeddings, unmodified, on both kinds of model."""

from pathlib import Path

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_flagvec import FlagEmbeddings

GOLDEN = Path(__file__).parents[2] / "data/golden"


class OfFlagModel:
    embeddings_class = FlagEmbeddings
    embedding_model_params = {  # noqa: RUF012
        "model": GOLDEN / "tiny-bert",
        "model_kwargs": {"model_class": "encoder-only-base", "use_fp16": False},
    }


class OfM3Model:
    embeddings_class = FlagEmbeddings
    embedding_model_params = {"model": GOLDEN / "tiny-m3", "model_kwargs": {"use_fp16": False}}  # noqa: RUF012


class TestFlagModelUnit(OfFlagModel, EmbeddingsUnitTests):
    pass


class TestFlagModelIntegration(OfFlagModel, EmbeddingsIntegrationTests):
    pass


class TestM3ModelUnit(OfM3Model, EmbeddingsUnitTests):
    pass


class TestM3ModelIntegration(OfM3Model, EmbeddingsIntegrationTests):
    pass
