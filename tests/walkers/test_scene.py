"""Frames of walkers: silhouettes, what hides what, and what they look like."""

from dataclasses import replace

import numpy as np
import pytest

from gaitext.errors import DataError
from gaitext.walkers import CameraSettings, Scene, Walk, WalkerSettings, make_walk
from gaitext.walkers import scene as module
from gaitext.walkers.camera import project
from gaitext.walkers.looks import Looks, Material
from tests.walkers.test_solids import reference

SMALL = WalkerSettings(frames=6, camera=CameraSettings(width=160, height=120, focal=160.0, distance=4.2, elevation=1.1))
LIMBS = (7, 8, 9, 10, 13, 14, 15, 16)


def walk(kind: str = "nm-01", view: str = "054", identity: int = 1) -> Walk:
    return make_walk(SMALL, identity, kind, view)


@pytest.mark.parametrize(("kind", "view"), [("nm-01", "054"), ("cl-01", "090"), ("bg-01", "000"), ("bg-02", "135")])
def test_the_silhouette_is_that_of_every_solids_rays(kind: str, view: str) -> None:
    scene = Scene(walk(kind, view), 0)
    # The reference knows no hems: without them coats end round.
    scene.figure.hollow[:] = False
    _, silhouette = scene.frame(3)
    inside = reference(scene.figure.solids(3), SMALL.camera, steps=40)[0].max(0)
    # Small solids off the axis, such as a foot, deviate most.
    assert (silhouette != (inside > 0)).sum() < 0.03 * (inside > 0).sum()
    np.testing.assert_array_equal(silhouette[np.abs(inside) > 1.5], (inside > 0)[np.abs(inside) > 1.5])
    np.testing.assert_array_equal(scene.silhouette(3), silhouette)


def depths(scene: Scene, t: int) -> np.ndarray:
    """Depth of what is seen at each pixel, [H, W] metres."""
    hits, silhouette = scene._look(t)[0], scene.silhouette(t)
    depth = np.full(silhouette.shape, np.inf)
    depth[hits.rows, hits.columns] = hits.depth
    return depth


def test_joints_seen_are_on_their_limb_and_hidden_ones_behind_another() -> None:
    """The nearest surface at a joint's pixel is its own limb's, or that of something before it."""
    on_limb, behind = [], []
    for view in ("000", "054", "090", "180", "234"):
        for identity in (1, 2):
            one = walk(view=view, identity=identity)
            scene = Scene(one, 0)
            pixels = np.rint(one.keypoints).astype(int)
            depth = project(one.keypoints_3d, one.camera)[1]
            for t in range(len(scene)):
                surface = depths(scene, t)
                for joint in LIMBS:
                    x, y = pixels[t, joint]
                    before = (depth[t, joint] - surface[y, x]) / one.radii[joint]
                    assert before > 0.3  # something is drawn here, and the joint is within or behind it
                    if one.visibility[t, joint] > 0.98:
                        on_limb.append(before < 3)
                    if one.visibility[t, joint] < 0.02:
                        behind.append(before)
    # Visibility knows neither shoes nor clothes: a toe may be before a heel that counts as seen.
    assert np.mean(on_limb) > 0.95
    assert len(behind) > 20
    assert min(behind) > 0.9


@pytest.mark.parametrize("view", ["000", "090", "216"])
def test_seen_joints_lie_within_the_silhouette(view: str) -> None:
    one = walk("cl-01", view)
    scene = Scene(one, 0)
    for t in range(len(scene)):
        y, x = np.nonzero(scene.silhouette(t))
        points = one.keypoints[t][one.visibility[t] > 0.5]
        gap = np.hypot(points[:, :1] - x, points[:, 1:] - y).min(1)
        assert gap.max() < 1.5  # the nose's tip and the eyes lie on the outline
        _, top, _, height = one.boxes[t]
        assert abs(y.min() - top) < 4
        assert abs(y.max() + 1 - top - height) < 4


PLAIN = {Material.SKIN: (1, 0, 0), Material.HAIR: (0, 1, 0)}


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skin is red, hair green and all else blue; no blur, no noise."""
    original = module.draw_looks

    def plain(colours: np.ndarray, coat: bool, rng: np.random.Generator) -> Looks:
        looks = original(colours, coat, rng)
        tiles = np.zeros_like(looks.tiles)
        for material in Material:
            tiles[material] = PLAIN.get(material, (0, 0, 1))
        return replace(
            looks, tiles=tiles, gain=np.ones(3), noise=0.0, blur=0.0, long_hair=False, hairline=0.2, ambient=0.6
        )

    monkeypatch.setattr(module, "draw_looks", plain)


def head_pixels(one: Walk) -> np.ndarray:
    """Mean colour of a patch at the middle of the head."""
    x, y = np.rint(one.keypoints[2, :5].mean(0)).astype(int)
    return Scene(one, 0).frame(2)[0][y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(0)


@pytest.mark.usefixtures("painted")
def test_faces_are_in_front_and_hair_behind() -> None:
    for identity in (1, 2, 3):
        assert head_pixels(walk(view="000", identity=identity)).argmax() == 0
        assert head_pixels(walk(view="180", identity=identity)).argmax() == 1


@pytest.mark.usefixtures("painted")
def test_bags_hang_on_their_side() -> None:
    """Seen from the front, what hangs on the body's left is on the image's right."""
    for identity in range(1, 7):
        one = walk("bg-01", "000", identity)
        scene = Scene(one, 0)
        bag = scene.figure.material == Material.BAG
        assert bag.any()
        middle = scene.figure.start[:, bag][:, -1].copy()
        offset = (project(middle, one.camera)[0] - one.keypoints[:, (11, 12)].mean(1))[:, 0]
        assert (offset > 0).all() if one.clothes.side == 0 else (offset < 0).all()


def test_a_bag_and_a_coat_add_to_the_silhouette() -> None:
    for kind, least in (("bg-01", 1.02), ("cl-01", 1.05)):
        one = walk(kind)
        bare = replace(one, clothes=replace(one.clothes, coat=False, bag=None))
        more, less = (Scene(w, 0).silhouette(2).sum() for w in (one, bare))
        assert more > least * less


def test_frames_are_functions_of_walk_and_seed() -> None:
    one, other = Scene(walk(), 0), Scene(walk(), 0)
    later = one.frame(4)
    for t in range(5):
        other.frame(t)
    for a, b in zip(later, other.frame(4)):
        np.testing.assert_array_equal(a, b)
    assert later[0].dtype == np.uint8
    assert later[1].dtype == bool
    different = Scene(walk(), 1).frame(4)
    assert (different[0] != later[0]).mean() > 0.5
    np.testing.assert_array_equal(different[1].shape, later[1].shape)


def test_noise_changes_from_frame_to_frame_and_light_does_not() -> None:
    scene = Scene(walk(view="000"), 0)
    corner = np.stack([scene.frame(t)[0][:40, :40].astype(float) for t in range(6)])
    assert corner.std(0).mean() > 0.2
    assert np.ptp(corner.mean((1, 2, 3))) < 1


def test_there_is_no_frame_outside_the_walk() -> None:
    for t in (-1, 6):
        with pytest.raises(DataError, match="no frame"):
            Scene(walk(), 0).frame(t)


def test_cut_off_where_the_body_leaves_the_frame() -> None:
    close = SMALL.model_copy(update={"camera": SMALL.camera.model_copy(update={"distance": 2.6, "offset": 0.5})})
    one = make_walk(close, 1, "nm-01", "000")
    scene = Scene(one, 0)
    rgb, silhouette = scene.frame(0)
    assert rgb.shape == (120, 160, 3)
    assert silhouette[-1].any() or silhouette[0].any()
