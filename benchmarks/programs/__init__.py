"""Programs that benchmarks deploy instead of infra/__main__.py, with the same parts."""
