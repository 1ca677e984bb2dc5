"""From a DICOM file to a pair of views: header, selection, views, pairing and pixels."""
