"""Runs in a process of its own, in a Python that has TensorFlow: reads its files, writes ONNX and what it found.

Nothing here imports the rest of Accelform, which that Python may not have; nothing outside imports this.
"""
