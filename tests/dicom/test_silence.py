"""No warning of pydicom leaves the library: they quote values."""

import warnings

import pytest
from pydicom.uid import ExplicitVRBigEndian
from tests.dicom.objects import dataset, encode, read

from bsbatch.dicom.silence import silence_pydicom


@pytest.mark.filterwarnings("ignore")
def test_neither_warnings_nor_the_log_quote_a_value(caplog: pytest.LogCaptureFixture) -> None:
    data = encode(dataset(FrameOfReferenceUID="1.2.3.9"), ExplicitVRBigEndian).replace(b"1.2.3.9", b"JaneDoe")
    read(data)
    assert "JaneDoe" in caplog.text
    caplog.clear()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with silence_pydicom():
            read(data)

    assert caplog.text == ""
    read(data)
    assert caplog.text != ""
