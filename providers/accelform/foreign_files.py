"""Files of other programs that people bring as models or weights: what they are, and how to bring them instead."""

from __future__ import annotations

from pathlib import Path

_PYTORCH = (
    "PyTorch's own file: a Python pickle, which can run anything when it is loaded. Export the network with "
    "torch.onnx.export and name the .onnx file"
)
_PICKLE = "a Python pickle, which can run anything when it is loaded. Save the arrays with numpy.savez"
_BY_ENDING = {
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".ptl": _PYTORCH,
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
    ".safetensors": "weights without a network. Export the network with torch.onnx.export and name the .onnx file",
    ".tflite": "a TensorFlow Lite model, made for phones. Bring the SavedModel or .keras file that it was made from",
    ".mlmodel": "a Core ML model. Bring the model that it was made from, as ONNX",
    ".mlpackage": "a Core ML model. Bring the model that it was made from, as ONNX",
    ".npy": "one NumPy array. Save all arrays under their names with numpy.savez, and name the .npz file",
    ".engine": "a network compiled for one GPU. Bring the ONNX file that it was made from",
    ".plan": "a network compiled for one GPU. Bring the ONNX file that it was made from",
    ".ort": "a network compiled for onnxruntime. Bring the ONNX file that it was made from",
    ".pbtxt": "a graph as text. Save it as a SavedModel or a frozen .pb",
    ".json": "a description without weights. Save the whole model as .keras",
    ".tar": "a tar archive. Unpack it and name what is in it, or pack it as .zip",
    ".gz": "a gzip archive. Unpack it first",
    ".tgz": "a tar archive. Unpack it and name what is in it, or pack it as .zip",
    ".7z": "a 7z archive. Unpack it and name what is in it, or pack it as .zip",
    ".rar": "a rar archive. Unpack it and name what is in it, or pack it as .zip",
}


def foreign_kind(path: Path) -> str:
    """What a file of that ending is, and what to bring instead; empty for endings that no program owns."""
    return _BY_ENDING.get(path.suffix.lower(), "")
