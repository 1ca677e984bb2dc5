"""Two readers of DICOM headers: a fast one for common objects, pydicom for the rest."""
