"""Sequences of heatmaps and poses from video."""

from gaitext.extraction.boxes import Source, find_sources, read_boxes
from gaitext.extraction.clips import ExtractReport, ExtractSettings
from gaitext.extraction.crops import crop_images
from gaitext.extraction.extract import Correction, extract_dataset, extract_video
from gaitext.extraction.tracker import Track, TrackerSettings, load_tracker

__all__ = [
    "Correction",
    "ExtractReport",
    "ExtractSettings",
    "Source",
    "Track",
    "TrackerSettings",
    "crop_images",
    "extract_dataset",
    "extract_video",
    "find_sources",
    "load_tracker",
    "read_boxes",
]
