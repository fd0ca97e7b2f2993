"""Masks of people behind one small protocol, and silhouettes made of them as the toolboxes have them."""

from gaitext.segmentation.segmenter import SCALE, SEGMENTERS, Segmenter, load_segmenter
from gaitext.segmentation.silhouettes import NOBODY, of_person, pretreat

__all__ = ["NOBODY", "SCALE", "SEGMENTERS", "Segmenter", "load_segmenter", "of_person", "pretreat"]
