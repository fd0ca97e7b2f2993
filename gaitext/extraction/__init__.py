"""Sequences of heatmaps and poses from video."""

from gaitext.extraction.coco import Track, read_boxes
from gaitext.extraction.crops import crop_images
from gaitext.extraction.dataset import extract_dataset
from gaitext.extraction.extract import Correction, extract_video
from gaitext.extraction.plan import ExtractSettings
from gaitext.extraction.report import ExtractReport
from gaitext.extraction.sources import Source, find_sources

__all__ = [
    "Correction",
    "ExtractReport",
    "ExtractSettings",
    "Source",
    "Track",
    "crop_images",
    "extract_dataset",
    "extract_video",
    "find_sources",
    "read_boxes",
]
