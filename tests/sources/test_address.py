from importlib.util import find_spec

import pytest

from bsbatch import requirements
from bsbatch.errors import MissingPackageError, UsageError
from bsbatch.sources.address import open_source


def test_an_address_of_no_known_kind_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"neither a path nor a bucket: s3://, gs://, az://"):
        open_source("ftp://host/folder")


@pytest.mark.parametrize("address", ["s3://bucket", "gs://bucket/x", "az://container"])
def test_a_bucket_without_its_package_is_refused_with_the_line_that_installs_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None if name == "obstore" else find_spec(name))

    with pytest.raises(MissingPackageError, match=r'obstore is not installed: pip install "bsbatch\[cloud\]"'):
        open_source(address)
