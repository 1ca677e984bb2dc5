"""Synthetic whole-body bone scans, written as real NM DICOM objects, for development and tests.

Nothing here shows a person, and nothing made here is for clinical use.
"""
