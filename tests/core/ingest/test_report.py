import pickle

import pytest

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
        ("unexpected token: 'and'", "unexpected token: 'and'"),
        ("unexpected token: '}' at 12:30", "unexpected token: '}' at 12:30"),
    ],
)
def test_secrets_are_left_out_of_messages(text, expected):
    assert without_secrets(text) == expected
