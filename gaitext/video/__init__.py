"""Video files and folders of pictures: reading, writing, what a recording's own numbers state, digests."""

from gaitext.video.digests import digest, sha256
from gaitext.video.reading import (
    VIDEO_SUFFIXES,
    VideoInfo,
    count_frames,
    decode,
    frame_times,
    is_video,
    probe,
    read_frames,
    read_timed,
    sizes,
)
from gaitext.video.writing import write_video

__all__ = [
    "VIDEO_SUFFIXES",
    "VideoInfo",
    "count_frames",
    "decode",
    "digest",
    "frame_times",
    "is_video",
    "probe",
    "read_frames",
    "read_timed",
    "sha256",
    "sizes",
    "write_video",
]
