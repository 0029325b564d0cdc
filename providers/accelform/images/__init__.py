"""Images: OCI layouts in the store, made of a runtime layer and a model layer without a container engine."""
