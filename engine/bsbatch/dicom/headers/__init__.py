"""DICOM header readers: a fast one for common objects, pydicom for the rest."""
