"""The model card: purpose, training, metrics and limits of a model, with the CLAIM and STARD checklists.

Every statement comes from the manifest, from ``metrics.json`` or from a TOML file in this folder. A checklist item
without an answer is marked as open.
"""
