"""Stores from URLs: secrets, missing extras, and what an unloaded model says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flagvec.cli.stores import model_like
from flagvec.store.schema import Schema

NAMES = {"qdrant": "QDRANT_API_KEY", "elasticsearch": "ELASTICSEARCH_API_KEY"}


@pytest.fixture
def refusing_server():
    """A server that refuses every request, and the headers that came."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps({"error": {"type": "security_exception", "reason": "forbidden"}, "status": 403}).encode()
            self.send_response(403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *values):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()
    thread.join()


def secret_that_came(headers):
    return headers.get("api-key") or headers["authorization"].removeprefix("ApiKey ")


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("database", NAMES)
class TestSecrets:
    def test_a_key_comes_from_the_environment_and_is_not_printed(self, flagvec, refusing_server, database):
        host, seen = refusing_server
        done = flagvec("stats", "--store", f"{database}://{host}/articles", "--debug", **{NAMES[database]: "hunter2"})
        assert done.code == 1
        assert {secret_that_came(headers) for headers in seen} == {"hunter2"}
        assert "hunter2" not in done.out + done.err

    def test_a_key_comes_from_a_file_that_the_environment_names(self, flagvec, refusing_server, database, tmp_path):
        host, seen = refusing_server
        (tmp_path / "key").write_text("hunter2\n")
        file = {f"{NAMES[database]}_FILE": str(tmp_path / "key")}
        flagvec("stats", "--store", f"{database}://{host}/articles", **file)
        assert {secret_that_came(headers) for headers in seen} == {"hunter2"}

    def test_the_file_of_one_store_counts_before_the_environment(self, flagvec, refusing_server, database, tmp_path):
        host, seen = refusing_server
        (tmp_path / "key").write_text("hunter2")
        url = f"{database}://{host}/articles?key_file={tmp_path / 'key'}"
        flagvec("stats", "--store", url, **{NAMES[database]: "another"})
        assert {secret_that_came(headers) for headers in seen} == {"hunter2"}


def test_a_user_and_a_password_open_elasticsearch(flagvec, refusing_server):
    host, seen = refusing_server
    environment = {"ELASTICSEARCH_USERNAME": "me", "ELASTICSEARCH_PASSWORD": "hunter2"}
    flagvec("stats", "--store", f"elasticsearch://{host}/articles", **environment)
    assert {headers["authorization"] for headers in seen} == {"Basic bWU6aHVudGVyMg=="}


def test_a_file_that_holds_no_key_is_named(flagvec, tmp_path):
    (tmp_path / "key").write_text("two words")
    done = flagvec("stats", "--store", f"qdrant://127.0.0.1:1/articles?key_file={tmp_path / 'key'}")
    assert done.code == 2
    assert "key should hold QDRANT_API_KEY alone, in one line without spaces; it has 2 words" in done.err


def test_a_password_in_a_url_is_refused_and_not_printed(flagvec):
    done = flagvec("stats", "--store", "elasticsearch://me:hunter2@host/articles")
    assert done.code == 2
    assert "put it into the environment" in done.err and "hunter2" not in done.err


@pytest.mark.parametrize(
    ("package", "url", "extra"),
    [
        ("qdrant_client", "qdrant://127.0.0.1:1/articles", "qdrant"),
        ("qdrant_edge", "edge:./articles", "edge"),
        ("pymilvus", "milvus://127.0.0.1:1/articles", "milvus"),
        ("elasticsearch", "elasticsearch://127.0.0.1:1/articles", "elasticsearch"),
    ],
)
def test_a_missing_extra_is_named_with_its_pip_line(run_python, package, url, extra):
    code = f"""
import contextlib, io, sys
sys.modules[{package!r}] = None
from flagvec.cli.app import app
with contextlib.redirect_stderr(io.StringIO()) as said:
    try:
        app(["stats", "--store", {url!r}])
    except SystemExit as ended:
        print(ended.code, said.getvalue())
"""
    printed = run_python(code)
    assert printed.startswith("1 flagvec: ")
    assert f"pip install 'flagvec[{extra}]'" in printed and printed.count("\n") == 2


@pytest.mark.parametrize(
    "url", ["qdrant://127.0.0.1:1/articles", "milvus://127.0.0.1:1/articles", "elasticsearch://127.0.0.1:1/articles"]
)
def test_a_server_that_does_not_answer_is_one_line_and_may_be_tried_again(flagvec, url):
    done = flagvec("stats", "--store", url)
    assert done.code == 75
    assert done.err.count("\n") == 1 and done.err.startswith(f"flagvec: {url} does not answer: the ")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("edge:./articles?size=small", "edge takes no option 'size'; it takes storage"),
        ("qdrant://host/articles?grpc=yes", "grpc='yes' is not a port: write grpc=6334"),
        ("milvus-lite:./a.db/articles?grpc=1", "milvus-lite takes no option 'grpc'; it takes none"),
        (
            "elasticsearch://host/articles?dense=flat",
            "elasticsearch takes no option 'dense'; it takes ca_certs, key_file",
        ),
        ("edge:./articles?storage=tiny", "storage='tiny': choose 'accurate' or 'balanced' or 'small'"),
    ],
)
def test_an_option_that_a_database_does_not_take_is_refused(flagvec, tmp_path, url, said):
    (tmp_path / "a.db").mkdir()
    done = flagvec("stats", "--store", url)
    assert done.code == 2 and said in done.err


@pytest.mark.parametrize(
    "schema",
    [
        Schema("a/model", 8, True, 4, "cls", True, "passage: ", "query: "),
        Schema("a + b", 8, False, 4, "mean", True, "", "", colbert_model="b"),
        Schema("old", 8, False, None),
    ],
)
def test_what_stands_for_a_model_says_all_that_a_store_records(schema):
    assert Schema.of(model_like(schema)) == schema
