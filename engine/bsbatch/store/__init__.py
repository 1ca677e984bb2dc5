"""The output folder of a run: table schemas, Parquet parts, the catalog of settled objects, reconciliation."""
