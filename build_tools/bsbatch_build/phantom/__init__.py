"""Synthetic whole-body bone scans, written as real NM DICOM objects, for development and tests.

No person is shown. Nothing made here is for clinical use.
"""
