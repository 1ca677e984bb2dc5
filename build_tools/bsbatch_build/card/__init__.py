"""The model card: what a model is, is for, was trained on and does, and the CLAIM and STARD checklists of it.

Whatever is said comes from the manifest, from ``metrics.json`` or from a TOML file in this folder; what is not known is
left open by name.
"""
