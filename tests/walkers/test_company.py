"""Several people in a clip: who hides whom, against each figure drawn alone; files, and what stays as it was."""

from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import ConfigError
from gaitext.extraction import read_boxes
from gaitext.store import leaves, read_leaf
from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_company, make_walk, write_dataset
from gaitext.walkers.company import is_in_frame

CAMERA = CameraSettings(width=160, height=96, focal=140.0, distance=6.5, elevation=1.3)
THREE = WalkerSettings(identities=4, frames=25, people=3, camera=CAMERA)


def test_the_named_one_walks_as_if_alone_but_for_what_is_hidden() -> None:
    company = make_company(THREE, 2, "nm-01", "090")
    alone = make_walk(THREE, 2, "nm-01", "090")
    assert [len(walk) for walk in company] == [25] * 3
    np.testing.assert_array_equal(company[0].keypoints_3d, alone.keypoints_3d)
    np.testing.assert_array_equal(company[0].boxes, alone.boxes)
    assert (company[0].visibility <= alone.visibility).all()
    assert all(walk.identity > THREE.identities for walk in company[1:])
    again = make_company(THREE, 2, "nm-01", "090")
    for one, other in zip(company, again):
        np.testing.assert_array_equal(one.keypoints_3d, other.keypoints_3d)
        np.testing.assert_array_equal(one.visibility, other.visibility)
    # Nobody else: the walk itself.
    (single,) = make_company(THREE.model_copy(update={"people": 1}), 2, "nm-01", "090")
    np.testing.assert_array_equal(single.visibility, alone.visibility)


@pytest.mark.parametrize("view", ["000", "054", "090", "180"])
def test_they_come_towards_each_other_and_do_not_collide(view: str) -> None:
    for identity in (1, 2, 3):
        company = make_company(THREE, identity, "nm-01", view)
        hips = [walk.keypoints_3d[:, 11:13, :2].mean(1) for walk in company]
        ways = [path[-1] - path[0] for path in hips]
        for path, way in zip(hips[1:], ways[1:]):
            cosine = way @ ways[0] / np.linalg.norm(way) / np.linalg.norm(ways[0])
            assert cosine < np.cos(np.radians(180 - 22))
            # Neighbouring lanes are 0.7 m apart, less how far a walk strays from its own.
            assert np.linalg.norm(path - hips[0], axis=1).min() > 0.15


def test_each_pixel_is_the_nearest_figures() -> None:
    """Against every figure drawn in a scene of its own, by the distance of its hips."""
    company = make_company(THREE, 1, "nm-01", "090")
    scene = Scene(company[0], 0, company[1:])
    hidden = 0
    for t in range(0, 25, 2):
        alone = np.stack([Scene(walk, 0).silhouette(t) for walk in company])
        away = [walk.keypoints_3d[t, 11:13, 1].mean() for walk in company]
        expected = np.zeros_like(alone)
        free = np.ones(alone.shape[1:], bool)
        for number in np.argsort(away):
            expected[number] = alone[number] & free
            free &= ~alone[number]
        np.testing.assert_array_equal(scene.silhouettes(t), expected)
        frame, silhouettes = scene.frame_of_all(t)
        np.testing.assert_array_equal(silhouettes, expected)
        np.testing.assert_array_equal(scene.frame(t)[1], expected[0])
        np.testing.assert_array_equal(scene.frame(t)[0], frame)
        whole = alone.sum((1, 2))
        np.testing.assert_allclose(scene.shares_seen(t), expected.sum((1, 2)) / np.maximum(whole, 1))
        hidden += int((expected.sum((1, 2)) < 0.7 * whole).sum())
    assert hidden >= 3  # they do cross


def test_a_joint_behind_somebody_is_not_seen_and_one_before_is() -> None:
    """Where the silhouette of the nearer one covers a joint of the farther one's by far, it counts as hidden."""
    lost = kept = 0
    for identity in (1, 2, 3):
        company = make_company(THREE, identity, "nm-01", "090")
        mine, alone = company[0], make_walk(THREE, identity, "nm-01", "090").visibility
        for other in company[1:]:
            scene = Scene(other, 0)
            for t in range(25):
                before = other.keypoints_3d[t, 11:13, 1].mean() < mine.keypoints_3d[t, 11:13, 1].mean()
                outline = scene.silhouette(t)
                for joint in np.flatnonzero(alone[t] > 0.9):
                    x, y = np.rint(mine.keypoints[t, joint]).astype(int)
                    if before and outline[y - 1 : y + 2, x - 1 : x + 2].all():
                        hidden = mine.visibility[t, joint] < 0.5
                        lost, kept = lost + int(hidden), kept + int(not hidden)
        # Only what lies near somebody's outline is touched.
        changed = np.argwhere(np.abs(mine.visibility - alone) > 0.01)
        assert len(changed) < 0.5 * alone.size
    assert lost > 8 * kept
    assert lost > 10


def test_the_others_have_looks_of_their_own_in_one_light() -> None:
    company = make_company(THREE, 1, "nm-01", "090")
    scene = Scene(company[0], 0, company[1:])
    looks = [person.looks for person in scene._people]
    assert all(one.sun == looks[0].sun and one.light is looks[0].light for one in looks)
    assert not np.array_equal(looks[1].tiles, looks[2].tiles)


def test_what_is_written(tmp_path: Path) -> None:
    settings = THREE.model_copy(
        update={
            "identities": 2,
            "frames": 12,
            "types": ("nm-01",),
            "views": ("090",),
            "content": ("silhouettes", "keypoints", "video"),
        }
    )
    report = write_dataset(settings, tmp_path, quiet=True)
    assert report.written == 2
    assert [leaf.name for leaf in leaves(tmp_path / "sequences")] == ["001/nm-01/090", "002/nm-01/090"]
    company = make_company(settings, 2, "nm-01", "090")
    scene = Scene(company[0], settings.seed, company[1:])
    (mine,) = read_boxes(tmp_path / "boxes/002/nm-01/090.csv").values()
    np.testing.assert_allclose(mine.boxes, company[0].boxes, atol=0.006)
    rows = [line.split(",") for line in (tmp_path / "people/002/nm-01/090.csv").read_text().splitlines()]
    expected = [(t + 1, n + 1) for t in range(12) for n in range(3) if is_in_frame(company[n])[t]]
    assert [(int(row[0]), int(row[1])) for row in rows] == expected
    for row in rows:
        t, number = int(row[0]) - 1, int(row[1]) - 1
        np.testing.assert_allclose([float(v) for v in row[2:6]], company[number].boxes[t], atol=0.006)
        assert row[6:8] == ["1", "1"]
        assert float(row[8]) == pytest.approx(scene.shares_seen(t)[number], abs=0.006)
    assert sorted(read_boxes(tmp_path / "people/002/nm-01/090.csv")) == sorted({n for _, n in expected})
    for number, walk in enumerate(company):
        place = "sequences/002/nm-01/090" if number == 0 else f"people/002/nm-01/090-{number + 1}"
        silhouettes, keypoints = read_leaf(tmp_path / place)
        assert silhouettes.shape == (12, 64, 64)
        np.testing.assert_array_equal(keypoints[..., :2], walk.keypoints.astype(np.float32))
        np.testing.assert_array_equal(keypoints[..., 2], walk.visibility.astype(np.float32))
    # Whatever is missing is made again, and nothing else; a folder of other people is refused.
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    (tmp_path / "people/001/nm-01/090.csv").unlink()
    assert write_dataset(settings, tmp_path, quiet=True).written == 1
    assert {path: path.read_bytes() for path in files} == files
    with pytest.raises(ConfigError, match="people is 3 there"):
        write_dataset(settings.model_copy(update={"people": 2}), tmp_path, quiet=True)
