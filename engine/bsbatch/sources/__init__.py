"""Sources of DICOM objects."""
