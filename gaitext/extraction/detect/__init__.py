"""Person detectors behind one protocol: the package's own, transformers', mmdet's, and ONNX files of the YOLO kind."""

from gaitext.extraction.detect.detector import DETECTORS, Detector, detect_video, load_detector, overlap, suppress

__all__ = ["DETECTORS", "Detector", "detect_video", "load_detector", "overlap", "suppress"]
