import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec import StoreError, WriteError
from flagvec.ingest.report import FailedWrite, WriteReport, without_secrets


def test_a_report_without_failures_raises_nothing():
    WriteReport(("a",), ()).raise_for_failures()


def test_failures_are_raised_with_their_number_and_the_first_reasons():
    failed = tuple(FailedWrite(name, "too long", retryable=False) for name in "bcdef")
    with pytest.raises(StoreError, match=r"1 of 6 .* 'b': too long; 'c': too long; 'd': too long; and 2 more"):
        WriteReport(("a",), failed).raise_for_failures()


def test_the_error_of_failed_writes_holds_the_report_and_is_pickled_with_it():
    report = WriteReport(("a",), (FailedWrite("b", "too long", retryable=False),))
    with pytest.raises(WriteError) as raised:
        report.raise_for_failures()
    again = pickle.loads(pickle.dumps(raised.value))
    assert raised.value.report is report
    assert (again.report, str(again)) == (report, report.summary())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot reach https://user:secret@db:9200/x", "cannot reach https://***@db:9200/x"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("headers {'api-key': 'abc', 'x': 1}", "headers {'api-key': '***', 'x': 1}"),
        ("api_key=abc refused", "api_key=*** refused"),
        ("password=abc", "password=***"),
        ("uri=http://db, token=root:Milvus refused", "uri=http://db, token=*** refused"),
        ("GET /x?access_token=abc&size=3 refused", "GET /x?access_token=***&size=3 refused"),
        ("refresh-token: abc", "refresh-token: ***"),
        ("sent Bearer x, then nothing", "sent Bearer ***, then nothing"),
        ("sent ApiKey dXNlcjpwYXNz to db", "sent ApiKey *** to db"),
        ("sent Basic dXNlcjpwYXNz== to db", "sent Basic *** to db"),
        ('{"token": "x", "size": 3}', '{"token": "***", "size": 3}'),
        ('"{\\"token\\": \\"x\\"}"', '"{\\"token\\": \\"***"}"'),
        ("{'password': 'two words', 'x': 1}", "{'password': '***', 'x': 1}"),
        ("headers {'authorization': b'ApiKey abc'}", "headers {'authorization': b'ApiKey ***'}"),
        ("secret_access_key=abc; client_secret=def", "secret_access_key=***; client_secret=***"),
        ("passwd=a,b;c, user=me", "passwd=***, user=me"),
        ("https://user:pa/ss@w@db:9200/x", "https://***@db:9200/x"),
        ("https://user:1@2/3@db", "https://***@db"),
        ("https://key@db:9200", "https://***@db:9200"),
        ("https://a:b@h1,https://c:d@h2", "https://***@h1,https://***@h2"),
        ("'grpc://:secret@db'", "'grpc://***@db'"),
    ],
)
def test_secrets_are_left_out_of_messages(text, expected):
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "unexpected token: 'and'",
        "unexpected token: '}' at 12:30",
        "a token of 3 bytes, token 'x', tokens=512, pad_token=<pad>",
        "http://localhost:9200/articles/_doc/me@example.org was not found",
        "https://example.org/@user/page",
        "write to me@example.org: a password, a secret and an API key are needed",
        "missing Bearer token; use Bearer authentication",
        "WWW-Authenticate: Bearer realm=security",
        "Basic license, Basic authentication",
        "https://huggingface.co/BAAI/bge-m3 and file:///tmp/x",
    ],
)
def test_ordinary_words_stay(text):
    assert without_secrets(text) == text


NAMES = ["password", "api_key", "API-KEY", "access_token", "token", "client_secret", "Authorization", "pwd"]
in_quotes = st.text(st.characters(exclude_characters="\"'\\", exclude_categories=("Cs",)), min_size=8)
bare = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="/+=-_.~!$%#@"), min_size=8)
# As the user of a URL would have to percent-encode them, "?" and "#" do not end a password.
in_url = st.text(
    st.characters(codec="ascii", categories=("L", "N"), include_characters="/@:-_.~!$&()*+,;="), min_size=8
)


@given(name=st.sampled_from(NAMES), secret=in_quotes, quote=st.sampled_from("\"'"))
def test_no_quoted_value_of_a_secret_gets_through(name, secret, quote):
    text = f"refused: {{{quote}{name}{quote}: {quote}{secret}{quote}, 'size': 3}}"
    assert without_secrets(text) == f"refused: {{{quote}{name}{quote}: {quote}***{quote}, 'size': 3}}"


@given(name=st.sampled_from(NAMES), secret=bare)
def test_no_bare_value_of_a_secret_gets_through(name, secret):
    assert without_secrets(f"refused {name}={secret} by the server") == f"refused {name}=*** by the server"


@given(secret=in_url.filter(lambda text: "://" not in text and not re.match(r"\d{1,5}/", text)))
def test_no_password_of_a_url_gets_through(secret):
    assert without_secrets(f"cannot reach https://me:{secret}@db:9200/x") == "cannot reach https://***@db:9200/x"


words = st.text(st.characters(exclude_categories=("Cs",)))


@given(
    words.filter(lambda text: not re.search("key|passw|pwd|secret|token|auth|bearer|basic|://", text, re.IGNORECASE))
)
def test_a_text_without_a_name_of_a_secret_stays(text):
    assert without_secrets(text) == text


@pytest.mark.parametrize("part", ["://", "a:", "@", "token=", "Bearer ", "password=,", "Basic A", "api_key='"])
def test_a_long_message_takes_no_longer_than_its_length(part):
    # Backtracking that grew with the square of the length would take minutes.
    without_secrets(part * 200_000)
