"""Kubernetes objects of a stack: pure builders of manifests (dicts), and two components that register them.

Values in a manifest that only the deployment will tell (an image's digest, keys) may be Outputs: builders pass them on
and look into none of them.
"""
