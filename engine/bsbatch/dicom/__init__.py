"""From a DICOM file to a pair of views: header, views, pairing, pixels, and the reasons why not."""
