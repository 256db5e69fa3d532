"""ElasticsearchStore with the newest client of 9.x."""

import os
import re
import subprocess
import sys
from pathlib import Path

import elasticsearch
import pytest
from elasticsearch import BadRequestError, Elasticsearch

from flagvec import StoreError
from flagvec_elasticsearch import ElasticsearchStore

ROOT = Path(__file__).parents[3]
STORE_TESTS = "tests/integrations/flagvec_elasticsearch"


def run_store_tests(*options, **environment):
    """Run the tests of flagvec_elasticsearch in a process of their own; return how many passed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ELASTICSEARCH", "PYTEST_XDIST"))}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, STORE_TESTS],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return int(re.search(r"(\d+) passed", finished.stdout)[1])


def test_the_client_is_one_of_9():
    assert elasticsearch.__version__[0] == 9


def test_what_needs_no_server_passes():
    assert run_store_tests() > 50


def test_the_client_makes_every_request_that_the_store_makes(elasticsearch_url):
    passed = run_store_tests(
        "-p", "header_of_8", ELASTICSEARCH_URL=elasticsearch_url, PYTHONPATH=str(Path(__file__).parent)
    )
    assert passed > 100


def test_an_8_server_is_refused_with_what_to_install(elasticsearch_url, tiny_m3):
    with Elasticsearch(elasticsearch_url) as client:
        try:
            client.info()
        except BadRequestError:
            with pytest.raises(
                StoreError, match=r"does not speak with the client.*pip install 'elasticsearch>=8\.19,<9'"
            ):
                ElasticsearchStore(tiny_m3, client, "flagvec-compat-9").create()
        else:
            pytest.skip("the server at ELASTICSEARCH_URL is no 8.x")
