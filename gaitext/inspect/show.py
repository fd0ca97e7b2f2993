"""Frames of walks as networks see them, on one picture or in a video: a row a frame, a column a view."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import Field, field_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError, DataError, import_extra, suggest
from gaitext.extraction import Correction, ExtractSettings, extract_dataset, find_sources
from gaitext.extraction.clips import CONTENT, Content
from gaitext.extraction.few import extract_few
from gaitext.inspect.contact_sheet import check_picture, even, write_picture
from gaitext.inspect.contents import middles
from gaitext.inspect.footage import Footage, load_footage
from gaitext.inspect.moments import Moment, crop_of, estimated, moment, states
from gaitext.inspect.paint import Frame, draw_text, text_size
from gaitext.inspect.people_sheet import shares
from gaitext.inspect.views import VIEWS, Drawing, View, draw, titles
from gaitext.models.gaitheat_settings import AlignmentSettings
from gaitext.occlusion import OCCLUSION_TYPES, Occlusion, OcclusionSettings, draw_occlusion, sequence_generator
from gaitext.pose import PoseEstimator, load_estimator
from gaitext.skeleton import COCO_JOINTS, PartitionLike, resolve_partition
from gaitext.store import Leaf, leaves_of_people, root_within
from gaitext.video import VIDEO_SUFFIXES, probe, write_video

#: What a video is written for; other suffixes are pictures'.
_FILMS = (".mp4", ".mkv", ".avi", ".mov")
#: What is shown where nothing is asked for, as far as it is there: GaitHeat's Fig. 5, and alignment.
_USUAL: tuple[View, ...] = ("rgb", "silhouette", "keypoints", "heatmap", "aligned")
_ROWS = 4
#: In a picture a patch or pole is where it would be if so many frames had been sampled, as for training.
_SAMPLED = 30
_DARK, _GAP, _TEXT = 24, 6, 16
_RESIZED = ":resized"


class ShowSettings(Settings):
    """What is shown.

    Attributes:
        what: columns, of ``rgb``, ``silhouette``, ``keypoints``, ``heatmap``, ``aligned``, ``parts`` and ``bins``;
            a text of names with commas between will do. None: the first five, as far as they are there.
        frames: how many; None: 4 in a picture, all in a video.
        occlusions: what a frame is shown under, of ``none``, ``top``, ``bottom``, ``middle``, ``dynamic``, ``pole``;
            ``top:resized`` and ``bottom:resized`` stretch the rows that are left. Likewise a text.
        seed: of the occlusions' sizes, which are drawn as in a test: a function of the seed and the sequence's name.
        partition: whose parts ``parts`` shows.
        bins: how many horizontal bins ``bins`` shows.
        threshold: γ: frames leaning less, in degrees, are not aligned. GaitHeat's 5; 0 aligns all.
        min_score: neck and hip of a frame are trusted where their joints' heatmaps are higher than this at their peaks.
        enlarge: pixels of the picture a heatmap pixel.
    """

    what: tuple[View, ...] | None = None
    frames: int | None = Field(None, ge=1)
    occlusions: tuple[str, ...] = ()
    seed: int = Field(0, ge=0)
    partition: PartitionLike = "upper_lower"
    bins: int = Field(16, ge=1, le=64)
    threshold: float = Field(5.0, ge=0, le=180)
    min_score: float = Field(0.0, ge=0, le=1)
    enlarge: int = Field(4, ge=1, le=16)

    @field_validator("what", mode="before")
    @classmethod
    def _known_views(cls, value: Any) -> Any:
        listed = _listed(value)
        for name in listed or ():
            if name not in VIEWS:
                raise ConfigError(f"there is no view {name!r}", how=suggest(str(name), VIEWS))
        return listed

    @field_validator("occlusions", mode="before")
    @classmethod
    def _known_occlusions(cls, value: Any) -> Any:
        listed = _listed(value)
        for name in listed or ():
            kind = name.removesuffix(_RESIZED)
            if kind not in OCCLUSION_TYPES:
                raise ConfigError(f"no occlusion {name!r}", how=suggest(kind, OCCLUSION_TYPES))
            if kind != name and kind not in ("top", "bottom"):
                raise ConfigError(f"{kind} leaves no rows to resize", how=f"write {kind}, or top:resized")
        return listed

    @field_validator("partition", mode="before")
    @classmethod
    def _known_partition(cls, value: Any) -> Any:
        resolve_partition(value, where="partition")
        return value

    @property
    def drawing(self) -> Drawing:
        """How frames are drawn."""
        alignment = AlignmentSettings(threshold=self.threshold, min_score=self.min_score)
        return Drawing(self.partition, alignment, self.bins, lines=self.what is None or "aligned" in self.what)

    def drawn_occlusions(self, name: str) -> dict[str, Occlusion]:
        """Each row's occlusion of the sequence of this name: a function of the seed and the name."""
        return {
            each: draw_occlusion(
                OcclusionSettings.parse(
                    {"types": {each.removesuffix(_RESIZED): 1.0}, "resize_visible": each.endswith(_RESIZED)},
                    where="occlusions",
                ),
                sequence_generator(self.seed, name),
            )
            for each in self.occlusions
        }


def _listed(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


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
        chosen = _columns(source, walks, settings, correction is not None)
        finder = _finder(estimator, walks) if correction is not None else nullcontext(None)
        with finder as found:
            rows = _rows(walks, settings, film, found, correction, progress)
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


def _columns(source: Path, walks: Sequence[Walk], settings: ShowSettings, anew: bool) -> list[tuple[View, list[str]]]:
    """The views that are drawn, and their headings.

    Raises:
        DataError: naming what is missing, what is there, and what would bring it.
    """
    drawing = settings.drawing
    lacking: dict[View, Walk] = {}
    for walk in walks:
        there = _there(walk.footage, anew)
        lacking |= {view: walk for view in VIEWS if view not in there}
    wanted = settings.what
    if wanted is None:
        wanted = tuple(view for view in _USUAL if view not in lacking)
    for view in wanted:
        if view in lacking:
            footage = lacking[view].footage
            raise DataError(
                f"{footage.name} has no {_NEEDS[view][0]}, which '{view}' shows; it has {_held(footage)}",
                where=source,
                how=_NEEDS[view][1],
            )
    if not wanted:
        raise DataError(
            f"the sequences have nothing in common that could be shown (the first has {_held(walks[0].footage)})",
            where=source,
            how="give one of them",
        )
    headings = []
    for view in wanted:
        each = {tuple(titles(view, drawing, *_channels(walk.footage, anew))) for walk in walks}
        if len(each) > 1:
            raise DataError(f"the sequences have other parts ({each})", where=source, how="give one of them")
        headings.append((view, list(each.pop())))
    return headings


_NEEDS: dict[View, tuple[str, str]] = {
    "rgb": ("RGB", "name its video with --video, or give the video itself"),
    "silhouette": ("silhouettes", "extract it anew: gaitext extract writes them if --content asks for silhouettes"),
    "keypoints": ("keypoints", "extract it anew: gaitext extract writes poses"),
    "heatmap": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
    "aligned": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
    "parts": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
    "bins": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
}


def _there(footage: Footage, anew: bool) -> set[View]:
    """What can be shown of a sequence."""
    rgb = footage.video is not None or footage.pictures is not None
    maps = footage.heatmaps is not None or anew
    merged = footage.heatmaps is not None and footage.heatmaps.shape[1] != len(COCO_JOINTS) and not anew
    posed = footage.poses is not None or footage.poses_frame is not None or (maps and not merged)
    there: dict[View, bool] = {
        "rgb": rgb,
        "silhouette": footage.masks is not None and not anew,
        "keypoints": posed,
        **dict.fromkeys(("heatmap", "aligned", "parts", "bins"), maps),
    }
    return {view for view, seen in there.items() if seen}


def _held(footage: Footage) -> str:
    held = {
        "RGB": footage.video if footage.video is not None else footage.pictures,
        "heatmaps": footage.heatmaps,
        "poses": footage.poses if footage.poses is not None else footage.poses_frame,
        "silhouettes": footage.masks,
        "boxes": footage.boxes,
    }
    return ", ".join(name for name, what in held.items() if what is not None)


def _channels(footage: Footage, anew: bool) -> tuple[int | None, tuple[str, ...]]:
    if anew:
        return len(COCO_JOINTS), ()
    maps = footage.heatmaps
    return (None if maps is None else maps.shape[1]), tuple(group.name for group in footage.groups)


def _finder(estimator: str | PoseEstimator, walks: Sequence[Walk]) -> Any:
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
    return nullcontext(load_estimator(estimator) if isinstance(estimator, str) else estimator)


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
    room = text_size(f"frame {'8' * len(str(int(footage.numbers.max())))}", _TEXT)[0]

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


def sheet(headings: Sequence[str], rows: Sequence[tuple[list[str], list[Frame]]], *, room: int = 0) -> Frame:
    """Tiles in rows and columns, with a heading above each column and a few lines before each row.

    Args:
        headings: of the columns.
        rows: lines of text, and as many tiles as there are headings.
        room: least width of the lines, so that pictures of a video are equally wide.

    Returns:
        RGB uint8 [H, W, 3], H and W even.
    """
    heights = [max(tile.shape[0] for tile in row[1]) for row in rows]
    tops = np.cumsum([0, *(height + _GAP for height in heights)])
    widths = [max(row[1][i].shape[1] for row in rows) for i in range(len(headings))]
    widths = [max(width, text_size(heading, _TEXT)[0]) for width, heading in zip(widths, headings)]
    lines = [text_size(line, _TEXT)[0] for row in rows for line in row[0]]
    lead, head = max(room, *lines) + 2 * _GAP, text_size("Ág", _TEXT)[1] + _GAP
    size = (head + int(tops[-1]), lead + sum(widths) + len(widths) * _GAP)
    canvas = np.full((even(size[0] + 1), even(size[1] + 1), 3), _DARK, np.uint8)
    lefts = lead + np.cumsum([0, *(width + _GAP for width in widths[:-1])])
    for heading, left, width in zip(headings, lefts, widths):
        draw_text(canvas, heading, left + (width - text_size(heading, _TEXT)[0]) / 2, _GAP / 2, size=_TEXT, back=0)
    for top, (text, tiles) in zip(head + tops, rows):
        for place, line in enumerate(text):
            draw_text(canvas, line, _GAP, top + place * (_TEXT + 6), size=_TEXT, back=0)
        for tile, left, width in zip(tiles, lefts, widths):
            inset = left + (width - tile.shape[1]) // 2
            canvas[top : top + tile.shape[0], inset : inset + tile.shape[1]] = tile
    return canvas
