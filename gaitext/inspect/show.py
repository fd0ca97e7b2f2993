"""Frames of walks as networks see them, on one picture or in a video: a row a frame, a column a view."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from gaitext.errors import ConfigError, DataError, import_extra
from gaitext.extraction import Correction, ExtractSettings, extract_dataset, find_sources
from gaitext.extraction.clips import CONTENT, Content
from gaitext.extraction.few import extract_few
from gaitext.inspect.contact_sheet import check_picture, write_picture
from gaitext.inspect.footage import Footage, load_footage
from gaitext.inspect.moments import Moment, crop_of, estimated, moment, states
from gaitext.inspect.paint import Frame, text_size
from gaitext.inspect.people_sheet import shares
from gaitext.inspect.show_columns import columns
from gaitext.inspect.show_settings import ShowSettings
from gaitext.inspect.show_sheet import TEXT, sheet
from gaitext.inspect.views import View, draw
from gaitext.pose import PoseEstimator, load_estimator
from gaitext.store import Leaf, leaves_of_people, root_within
from gaitext.video import VIDEO_SUFFIXES, probe, write_video
from gaitext.video.frames import middles

#: What a video is written for; other suffixes are pictures'.
_FILMS = (".mp4", ".mkv", ".avi", ".mov")
_ROWS = 4
#: In a picture a patch or pole is where it would be if so many frames had been sampled, as for training.
_SAMPLED = 30


@dataclass
class Shown:
    """What was drawn.

    Attributes:
        path: of the picture or video.
        columns: their headings.
        rows: of a picture; frames of a video.
        notes: what the reader should know.
    """

    path: Path
    columns: list[str] = field(default_factory=list)
    rows: int = 0
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """A few lines for people."""
        count = f"{self.rows} {'frames' if self.path.suffix.lower() in _FILMS else 'rows'}"
        return "\n".join([f"{self.path}: {count} of {', '.join(self.columns)}", *self.notes])


@dataclass(frozen=True)
class Walk:
    """A sequence, and which of its frames are shown."""

    footage: Footage
    positions: list[int]


def show(
    source: str | Path,
    out: str | Path,
    settings: ShowSettings | None = None,
    *,
    video: str | Path | None = None,
    check: bool = True,
    estimator: str | PoseEstimator = "movenet",
    correction: Correction | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Shown:
    """Draw frames of a sequence, of some sequences of a dataset, or of a video.

    A row is a frame, and one more what a corrector makes of it, if there is one. A column is a view of it: RGB,
    silhouette, keypoints, heatmaps (GaitHeat's Fig. 5), heatmaps after pose-guided alignment, part maps (Eq. 5),
    horizontal bins. The person under the heatmaps is moved as they are. With occlusions a column is an occlusion, and
    a row a view of a frame.

    Args:
        source: a leaf's folder or one of its files; a dataset, whose sequences share the rows; or a video, of which a
            few frames (for a video out: all, of the longest track) are extracted first.
        out: a picture or a video, as its suffix says.
        settings: what is shown.
        video: the source video of a leaf, where it has moved.
        check: refuse a video whose digest is not the record's.
        estimator: of a video, and with a corrector; a specification or an estimator.
        correction: what a second row of each frame is corrected by.
        progress: called with (frames done, frames to do).

    Raises:
        ConfigError: a suffix of no picture and no video; a silhouette of a corrected frame.
        DataError: what is asked for is not there; a video out of a whole dataset.
        VideoError: a video cannot be read or written.
        MissingDependencyError: Pillow or PyAV is not installed.
    """
    settings, out, source = settings or ShowSettings(), Path(out), Path(source)
    film = out.suffix.lower() in _FILMS
    if film:
        import_extra("av", "video", "writing a video")
    else:
        check_picture(out)
    if correction is not None and settings.what is not None and "silhouette" in settings.what:
        raise ConfigError(
            "silhouettes are not made anew of corrected frames",
            where="what",
            how="leave silhouette out, or extract the corrected video",
        )
    with ExitStack() as stack:
        if _is_video(source):
            if video is not None:
                raise ConfigError(f"{source} is a video itself", where="video", how="leave --video out")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            source = _extracted(source, folder, film, settings, estimator, progress)
        walks = _walks(source, settings, film, video, check)
        chosen = columns(source, [walk.footage for walk in walks], settings, anew=correction is not None)
        finder = None if correction is None else _finder(estimator, walks)
        rows = _rows(walks, settings, film, finder, correction, progress)
        if film:
            return _film(out, walks[0], rows, chosen, settings)
        return _picture(out, walks, rows, chosen, settings)


def _is_video(source: Path) -> bool:
    if source.is_file():
        return source.suffix.lower() in VIDEO_SUFFIXES
    if not source.is_dir():
        raise DataError("no such file or folder", where=source, how="give a leaf, a dataset or a video")
    return next(source.glob("*.pkl"), None) is None and next(source.glob("*/*/*/*.pkl"), root_within(source)) is None


def _extracted(
    source: Path,
    folder: Path,
    film: bool,
    settings: ShowSettings,
    estimator: str | PoseEstimator,
    progress: Callable[[int, int | None], None] | None,
) -> Path:
    """A leaf of a video: of a few frames for a picture, of the longest track for a video."""
    sources = find_sources(source)
    if len(sources) != 1:
        raise DataError(
            f"holds {len(sources)} videos", where=source, how=f"give one of them, such as {sources[0].path}"
        )
    # Masks take time, and a frame without one is dropped.
    masked = settings.what is None or "silhouette" in settings.what
    content = get_args(Content) if masked else CONTENT
    if not film:
        return extract_few(
            sources[0].path, folder, settings.frames or _ROWS, content=content, estimator=estimator, progress=progress
        )
    chosen = ExtractSettings(tracks="longest", min_frames=1, content=content)
    report = extract_dataset(sources, estimator, folder, chosen, quiet=progress is None)
    if not report.written:
        raise DataError(f"no sequence can be extracted of it: {report}", where=source)
    return folder / "sequences" / report.written[0]


def _walks(source: Path, settings: ShowSettings, film: bool, video: str | Path | None, check: bool) -> list[Walk]:
    """The sequences that are shown, and their frames."""
    alone = source.is_file() or next(source.glob("*.pkl"), None) is not None
    if alone:
        footage = load_footage(source, video=video, check=check)
        if film:
            return [Walk(footage, list(range(footage.length))[: settings.frames])]
        return [Walk(footage, middles(footage.length, min(settings.frames or _ROWS, footage.length)))]
    root, people = leaves_of_people(source)
    found: list[Leaf] = [leaf for leaves in people.values() for leaf in leaves]
    if not found:
        raise DataError("holds no sequences", where=root, how="give a leaf, a dataset or a video")
    if film or video is not None:
        raise DataError(
            f"holds {len(found)} sequences, and a video is of one", where=root, how=f"give one, such as {found[0].path}"
        )
    walks = []
    for leaf, count in shares(found, settings.frames or _ROWS):
        footage = load_footage(leaf.path, check=check)
        walks.append(Walk(footage, middles(footage.length, min(count, footage.length))))
    return walks


def _finder(estimator: str | PoseEstimator, walks: Sequence[Walk]) -> PoseEstimator:
    """The estimator that heatmaps are made anew with.

    Raises:
        DataError: there are no frames to correct.
    """
    for walk in walks:
        if walk.footage.video is None or crop_of(walk.footage, 0) is None:
            raise DataError(
                "there is no video of it, whose frames could be corrected",
                where=walk.footage.name,
                how="name its video with --video, or give the video itself",
            )
    return load_estimator(estimator) if isinstance(estimator, str) else estimator


def _rows(
    walks: Sequence[Walk],
    settings: ShowSettings,
    film: bool,
    estimator: PoseEstimator | None,
    correction: Correction | None,
    progress: Callable[[int, int | None], None] | None,
) -> Iterator[tuple[Walk, list[Moment]]]:
    """Each frame in all its states."""
    done, total = 0, sum(len(walk.positions) for walk in walks)
    for walk in walks:
        footage = walk.footage
        occlusions = settings.drawn_occlusions(footage.name)
        for position, frame in footage.frames(walk.positions):
            index = position if film or footage.length <= _SAMPLED else position * _SAMPLED // footage.length
            seen = moment(footage, position, frame, index=index, rows=settings.enlarge)
            corrected: list[Moment] = []
            if correction is not None and estimator is not None:
                box = crop_of(footage, position)
                assert frame is not None
                assert box is not None
                before = estimated(seen, frame, box, estimator, state="as it is")
                after = estimated(seen, frame, box, estimator, correction, state="corrected")
                corrected = [before, after]
            yield walk, states(seen, occlusions, corrected)
            done += 1
            if progress is not None:
                progress(done, total)


def _arranged(
    frames: Sequence[tuple[str | None, list[Moment]]], chosen: Sequence[tuple[View, list[str]]], settings: ShowSettings
) -> tuple[list[str], list[tuple[list[str], list[Frame]]]]:
    """Headings, and rows of lines and tiles: a row a frame and state, a column a view.

    With occlusions, which are many, a row is a view, and a column an occlusion.
    """
    headings = [heading for _, some in chosen for heading in some]
    rows: list[tuple[list[str], list[Frame]]] = []
    for name, moments in frames:
        drawn = [[tile for view, _ in chosen for tile in draw(view, was, settings.drawing)] for was in moments]
        lines = [line for line in (name, f"frame {moments[0].number}") if line]
        if settings.occlusions:
            rows += [([*lines, heading], list(tiles)) for heading, tiles in zip(headings, zip(*drawn))]
        else:
            rows += [([*lines, *([was.state] if was.state else [])], tiles) for was, tiles in zip(moments, drawn)]
    return ([was.state for was in frames[0][1]] if settings.occlusions else headings), rows


def _picture(
    out: Path,
    walks: Sequence[Walk],
    rows: Iterator[tuple[Walk, list[Moment]]],
    chosen: Sequence[tuple[View, list[str]]],
    settings: ShowSettings,
) -> Shown:
    several = len(walks) > 1
    frames = [(walk.footage.name if several else None, moments) for walk, moments in rows]
    headings, drawn = _arranged(frames, chosen, settings)
    write_picture(sheet(headings, drawn), out)
    return Shown(out, headings, len(drawn), _notes(walks))


def _film(
    out: Path,
    walk: Walk,
    rows: Iterator[tuple[Walk, list[Moment]]],
    chosen: Sequence[tuple[View, list[str]]],
    settings: ShowSettings,
) -> Shown:
    """A picture a frame, as fast as the source."""
    footage, shown = walk.footage, Shown(out, notes=_notes([walk]))
    room = text_size(f"frame {'8' * len(str(int(footage.numbers.max())))}", TEXT)[0]

    def frames() -> Iterator[Frame]:
        for _, moments in rows:
            shown.columns, drawn = _arranged([(None, moments)], chosen, settings)
            yield sheet(shown.columns, drawn, room=room)

    fps = 25.0 if footage.video is None else (probe(footage.video).fps or 25.0)
    shown.rows = write_video(out, frames(), fps=fps)
    return shown


def _notes(walks: Sequence[Walk]) -> list[str]:
    bare = [walk.footage.name for walk in walks if walk.footage.video is None and walk.footage.pictures is None]
    return [f"no video: {', '.join(bare)} (--video if it has moved): no person is under the heatmaps"] if bare else []
