"""The five networks as data: tf-slim's topologies under their graphs' own names."""
