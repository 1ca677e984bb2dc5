"""Mirrors possible whole-body bone scans of a PACS into a folder: ``bsbatch fetch``. Nothing else speaks to a PACS."""
