"""What a missing extra means for a user."""

import pytest

from flagvec.extras import extra


def test_a_missing_package_says_which_extra_has_it():
    with (
        pytest.raises(
            ImportError, match=r"this needs the package not-there: pip install 'flagvec\[parquet\]'"
        ) as raised,
        extra("parquet"),
    ):
        import not_there.part  # noqa: F401
    assert raised.value.name == "not_there"


def test_other_errors_pass():
    with pytest.raises(ValueError, match="other"), extra("parquet"):
        raise ValueError("other")
