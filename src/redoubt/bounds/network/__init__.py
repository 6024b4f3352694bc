"""A network as a graph of few operators, from torch modules and ONNX."""
