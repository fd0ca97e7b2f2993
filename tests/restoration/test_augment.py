"""Moved crops: what is drawn at a joint is found at its target; draws are the recipe's, and everybody's the same."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gaitext import store
from gaitext.errors import ConfigError
from gaitext.restoration.augment import Dice, moved_boxes, moved_images, view_matrices
from gaitext.restoration.crop_data import Batch, CropData
from gaitext.restoration.settings import AugmentSettings, CorrectionConfig, TrainerSettings
from gaitext.skeleton import joint_mirror
from gaitext.training.pace import StepSettings

HRNET = AugmentSettings(rotation=45, scale=0.35, half_body=0.3)
HEIGHT, WIDTH = 256, 192
#: A standing person in a crop.
PERSON = np.stack(
    (
        np.float64([96, 100, 92, 106, 86, 118, 74, 126, 66, 130, 62, 109, 83, 111, 80, 113, 77]),
        np.float64([50, 46, 46, 49, 49, 75, 75, 105, 106, 132, 133, 138, 139, 180, 178, 222, 219]),
    ),
    1,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CropData:
    """Frame k shows a soft dot at joint k, at a place between pixels; frames 17 to 33 know joints 0 to 8 alone."""
    root = tmp_path_factory.mktemp("crops")
    generator = np.random.default_rng(0)
    places = PERSON + generator.uniform(-2, 2, (34, 17, 2))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = []
    for k, joints in enumerate(places):
        x, y = joints[k % 17]
        dot = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
        frames.append(np.broadcast_to(dot.round().astype(np.uint8), (3, HEIGHT, WIDTH)))
    poses = np.concatenate((places, np.ones((34, 17, 1))), -1)
    poses[17:, 9:] = 0
    leaf = {
        "0_degraded": np.stack(frames),
        "1_original": np.stack(frames)[:, :, ::-1].copy(),
        "2_poses": poses.astype(np.float32),
        "3_boxes": np.tile(np.float32([55, 35, 80, 195]), (34, 1)),
        "4_crops": np.zeros((34, 4), np.float32),
    }
    store.write_leaf(root / "sequences", "001", "nm-01", "000", leaf)
    return CropData(root, {"001/nm-01/000": 34})


def found(image: np.ndarray) -> tuple[float, float]:
    """The dot's place: its brightness' centre."""
    light = image.astype(float)
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    return float((light * columns).sum() / light.sum()), float((light * rows).sum() / light.sum())


@pytest.mark.parametrize("mirror", [0.0, 1.0, 0.5])
@pytest.mark.parametrize(
    "settings",
    [
        AugmentSettings(rotation=45, rotation_share=1),
        AugmentSettings(scale=0.35),
        AugmentSettings(half_body=1),
        HRNET,
    ],
    ids=["rotation", "scale", "half body", "all"],
)
def test_a_dot_at_a_joint_is_found_at_its_target(data: CropData, settings: AugmentSettings, mirror: float) -> None:
    """For every joint: pixels and targets move alike, left and right exchanged where mirrored."""
    seen = set()
    for seed in range(6):
        plain = data.draw(40, seed, 3, mirror=mirror)
        moved = plain.moved(data.views(plain, settings, 40, seed, 3))
        for before, targets, after, places, weights in zip(*plain[:2], *moved[:3]):
            apart = (targets - torch.tensor(found(before[0].numpy()))).norm(dim=-1)
            joint = int(apart.argmin())
            where = places[joint].numpy()
            inside = (where > 25).all() and where[0] < WIDTH - 25 and where[1] < HEIGHT - 25
            if apart[joint] < 0.2 and weights[joint] and inside:  # a known joint's dot, and whole
                assert found(after[0].numpy()) == pytest.approx(tuple(where), abs=0.25)
                seen.add(joint)
    assert len(seen) >= 13  # others are at the rim of every view


def test_mirrored_joints_change_sides(data: CropData) -> None:
    """The dot at the left wrist is, mirrored and turned, at the target of the right one."""
    for number in (5, 9, 13):
        plain, turned = data.frames([number]), data.frames([number], mirrored=np.array([True]))
        matrices = torch.from_numpy(
            view_matrices(
                AugmentSettings(rotation=20, rotation_share=1),
                Dice(np.array([[0.0, 1.0]]), np.zeros((1, 3))),
                turned.targets.numpy(),
                turned.weights.numpy(),
                (HEIGHT, WIDTH),
            )
        )
        moved = turned.moved(matrices)
        place = found(moved.images[0, 0].numpy())
        assert place == pytest.approx(tuple(moved.targets[0, joint_mirror()[number]].tolist()), abs=0.1)
        assert np.hypot(*(moved.targets[0, number].numpy() - place)) > 10
        assert found(plain.images[0, 0].numpy()) == pytest.approx(tuple(plain.targets[0, number].tolist()), abs=0.1)


def view(settings: AugmentSettings, normal: list[float], uniform: list[float], known: int = 17) -> np.ndarray:
    weights = (np.arange(17) < known).astype(np.float32)
    dice = Dice(np.array([normal]), np.array([uniform]))
    return view_matrices(settings, dice, PERSON[None], weights[None], (HEIGHT, WIDTH))[0]


def test_views_by_hand() -> None:
    middle = np.array([95.5, 127.5])

    def place(matrix: np.ndarray, point: np.ndarray) -> np.ndarray:
        return matrix[:, :2] @ point + matrix[:, 2]

    nothing = view(HRNET, [0.0, 0.0], [0.9, 0.9, 0.9])
    assert nothing == pytest.approx(np.array([[1.0, 0, 0], [0, 1, 0]]))
    # Scale alone: the factor is that of what is seen, so 1.2 makes everything smaller; it stays within 0.65 and 1.35.
    for draw, factor in ((0.2 / 0.35, 1.2), (-0.2 / 0.35, 0.8), (5.0, 1.35), (-5.0, 0.65)):
        matrix = view(HRNET, [draw, 0.0], [0.9, 0.9, 0.9])
        assert place(matrix, middle + np.array([12, 0])) == pytest.approx(middle + np.array([12 / factor, 0]))
    # Turned about the middle, at most by 90°; the share 0.6 decides whether at all.
    for draw, degrees in ((0.5, 22.5), (-1.0, -45.0), (9.0, 90.0), (-9.0, -90.0)):
        angle = math.radians(degrees)
        matrix = view(HRNET, [0.0, draw], [0.59, 0.9, 0.9])
        assert place(matrix, middle + np.array([10, 0])) == pytest.approx(
            middle + 10 * np.array([math.cos(angle), math.sin(angle)])
        )
        assert view(HRNET, [0.0, draw], [0.61, 0.9, 0.9]) == pytest.approx(nothing)
    # Half a body: of the joints 0 to 10, or of the others, by N(0, 1) < ½, which is 0.69.
    for which, chosen in ((0.69, PERSON[:11]), (0.70, PERSON[11:])):
        matrix = view(HRNET, [0.0, 0.0], [0.9, 0.29, which])
        assert place(matrix, chosen.mean(0)) == pytest.approx(middle)
        low, high = chosen.min(0), chosen.max(0)
        extent = place(matrix, high) - place(matrix, low)
        # 1.5 times the longer side, in the crop's shape, fills the view.
        assert (extent / (WIDTH, HEIGHT)).max() == pytest.approx(1 / 1.5)
        assert view(HRNET, [0.0, 0.0], [0.9, 0.31, which]) == pytest.approx(nothing)
    # More than 8 joints have to be known: 9 are, all above the hips, so there is no lower half to choose.
    upper = view(HRNET, [0.0, 0.0], [0.9, 0.0, 0.99], known=9)
    assert place(upper, PERSON[:9].mean(0)) == pytest.approx(middle)
    assert view(HRNET, [0.0, 0.0], [0.9, 0.0, 0.99], known=8) == pytest.approx(nothing)


def test_draws_are_the_recipes() -> None:
    """Of many crops: how often and how far."""
    count = 4000
    dice = Dice.thrown(np.random.default_rng(1), count)
    joints, weights = np.broadcast_to(PERSON, (count, 17, 2)), np.ones((count, 17))
    matrices = view_matrices(HRNET.model_copy(update={"half_body": 0.0}), dice, joints, weights, (HEIGHT, WIDTH))
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    factors = 1 / np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    assert np.abs(angles).max() <= 90 + 1e-9
    assert (np.abs(angles) > 1e-9).mean() == pytest.approx(0.6, abs=0.03)
    assert angles[np.abs(angles) > 1e-9].std() == pytest.approx(43, abs=2)  # 45, cut off at 90
    assert (factors.min(), factors.max()) == pytest.approx((0.65, 1.35))
    assert (np.abs(factors - 1) > 0.35 - 1e-9).mean() == pytest.approx(0.317, abs=0.03)  # beyond one deviation
    halves = view_matrices(AugmentSettings(half_body=0.3), dice, joints, weights, (HEIGHT, WIDTH))
    whole = np.isclose(halves[:, 0, 0], 1)
    assert (~whole).mean() == pytest.approx(0.3, abs=0.03)
    # The row that comes to the middle is the chosen joints' mean.
    rows = (127.5 - halves[~whole, 1, 2]) / halves[~whole, 1, 1]
    upper = np.isclose(rows, PERSON[:11, 1].mean())
    assert np.isclose(rows[~upper], PERSON[11:, 1].mean()).all()
    assert upper.mean() == pytest.approx(0.69, abs=0.04)


@pytest.mark.parametrize("world", [2, 3])
def test_a_batch_is_the_same_however_it_is_shared_out(data: CropData, world: int) -> None:
    def drawn(iteration: int, **place: int) -> Batch:
        batch = data.draw(9, 4, iteration, original_share=0.5, mirror=0.5, paired=True, **place)
        return batch.moved(data.views(batch, HRNET, 9, 4, iteration, **place), 24.0)

    whole, again, other = drawn(7), drawn(7), drawn(8)
    assert not torch.equal(whole.images, other.images)
    assert all(torch.equal(one, twice) for one, twice in zip(whole, again))
    for rank in range(world):
        for mine, of_all in zip(drawn(7, rank=rank, world=world), whole):
            assert torch.equal(mine, of_all[rank::world])


def test_what_is_off_moves_nothing() -> None:
    assert HRNET.moves
    assert not AugmentSettings().moves
    assert not AugmentSettings(rotation=45, rotation_share=0).moves


def test_joints_that_leave_the_picture_do_not_count(data: CropData) -> None:
    batch = data.frames([0])
    for shift, margin, counts in ((-90.0, 0.0, True), (-97.5, 0.0, False), (-97.5, 24.0, True), (-121.0, 24.0, False)):
        views = torch.tensor([[[1.0, 0, shift - float(batch.targets[0, 0, 0]) + 96.0], [0, 1, 0]]], dtype=torch.float64)
        moved = batch.moved(views, margin)
        assert bool(moved.weights[0, 0]) == counts
    assert not data.frames([20]).weights[0, 9:].any()  # nor do those that were not known, wherever they come to lie
    views = torch.tensor([[[1.0, 0, 50], [0, 1, 50]]], dtype=torch.float64)
    assert not data.frames([20]).moved(views).weights[0, 9:].any()


def test_images_and_boxes_by_explicit_loops() -> None:
    generator = np.random.default_rng(2)
    image = generator.integers(0, 256, (1, 3, 12, 9), dtype=np.uint8)
    angle, factor = 0.4, 1.3
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / factor
    matrix = np.concatenate((turned, [[2.0], [1.5]]), 1)
    ours = moved_images(torch.from_numpy(image), torch.from_numpy(matrix[None]))[0].numpy()
    back = np.linalg.inv(np.vstack((matrix, [0, 0, 1])))
    for row in range(12):
        for column in range(9):
            x, y, _ = back @ (column, row, 1)
            left, top = math.floor(x), math.floor(y)
            value = np.zeros(3)
            for j, i in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= j < 12 and 0 <= i < 9:
                    value += image[0, :, j, i] * (1 - abs(x - i)) * (1 - abs(y - j))
            assert np.abs(ours[:, row, column] - value).max() <= 0.51
    box = torch.tensor([[1.0, 2.0, 4.0, 3.0]])
    corners = np.array([[1, 2], [5, 2], [1, 5], [5, 5]]) - 0.5
    wanted = corners @ turned.T + matrix[:, 2] + 0.5
    moved = moved_boxes(box, torch.from_numpy(matrix[None]))[0].numpy()
    assert moved == pytest.approx([*wanted.min(0), *(wanted.max(0) - wanted.min(0))], abs=1e-5)


def test_epochs_and_steps() -> None:
    """Three rates of HRNet's recipe, in a run of any length."""
    recipe = {"epochs": 210, "batch_size": 10, "lr": 5e-4, "warmup": 0, "steps": {"at": [170, 200], "of": 210}}
    steps = TrainerSettings.parse(recipe, where="test")
    assert steps.length(95) == 1995
    length = steps.length(100)
    assert length == 2100
    rates = [steps.rate(iteration, length) for iteration in range(length)]
    assert rates == pytest.approx([1.0] * 1700 + [0.1] * 300 + [0.01] * 100)
    short = steps.model_copy(update={"epochs": 2.1})
    assert short.length(100) == 21
    assert [short.rate(k, 21) for k in range(21)] == pytest.approx([1.0] * 17 + [0.1] * 3 + [0.01])
    warm = steps.model_copy(update={"warmup": 0.1})
    assert warm.rate(0, 100) == pytest.approx(1 / 11)
    # Without steps it is what it was: a cosine.
    cosine = TrainerSettings(iterations=10, warmup=0.0)
    assert cosine.length(7) == 10
    assert cosine.rate(5, 10) == pytest.approx(0.5)
    assert StepSettings(at=(1,), of=2, factor=0.5).rate(0.5) == 0.5


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"steps": {"at": [200, 170], "of": 210}}, "do not rise"),
        ({"steps": {"at": [170, 210], "of": 210}}, "do not rise"),
        ({"iterations": 5, "epochs": 3}, "both given"),
        ({"augment": {"rotatoin": 3}}, "did you mean 'rotation'"),
        ({"augment": {"scale": 1.0}}, "augment.scale"),
    ],
)
def test_what_cannot_be_is_refused(trainer: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainerSettings.parse(trainer, where="test")


def test_windows_as_they_are_in_the_video_are_not_moved(tmp_path: Path) -> None:
    data = {"degraded": "a", "truth": "b", "cache": "c", "crops": {"correct_at": "native"}}
    config = {"estimator": "movenet:lightning", "data": data, "finetune_trainer": {"augment": {"rotation": 45}}}
    with pytest.raises(ConfigError, match="correct_at: input"):
        CorrectionConfig.parse(config, where="test")
