"""An archive that nobody would find again is refused."""

from __future__ import annotations

import pytest

from banditd.settings.database import check_archive


@pytest.mark.parametrize(
    "url", ["file:///var/lib/banditd/archive", "s3://bucket/banditd", "gs://bucket", "s3://bucket", None]
)
def test_a_place_that_lasts_is_taken(url):
    check_archive(url, 30.0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("archive", "file:///archive"),
        ("file://archive", "the full path"),
        ("s3://", "which bucket"),
        ("s3:///folder", "which bucket"),
        ("memory://x", "does not last"),
        ("zip://x", "does not last"),
        ("ftp://user:secret@host/x", "contains a password"),
    ],
)
def test_another_is_refused_with_what_to_write(url, said):
    with pytest.raises(ValueError, match=said) as refused:
        check_archive(url, 30.0)
    assert "secret" not in str(refused.value)


def test_an_archive_of_what_is_kept_for_ever_is_refused():
    with pytest.raises(ValueError, match="retention_days"):
        check_archive("s3://bucket", 0.0)
