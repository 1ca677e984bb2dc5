"""Who executes units."""
