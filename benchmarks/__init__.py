"""Speed, measured side by side: `make bench` runs everything and writes benchmarks/results/."""
