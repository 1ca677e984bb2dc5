"""The output folder of a run: table schemas, Parquet parts, resuming, reconciliation."""
