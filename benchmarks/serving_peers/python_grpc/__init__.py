"""The smallest gRPC servers that Python's own library allows."""
