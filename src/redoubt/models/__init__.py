"""One face for every model: torch, ONNX, scikit-learn, HTTP endpoint, any callable; access levels; the meter."""
