import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.models import GaitPT
from gaitext.models import gaitpt_blocks as fast
from gaitext.models.gaitpt import draw_pace, paced_windows, played_length, starts
from gaitext.skeleton import COCO_JOINTS, POSE_ORDERS, coco_rows
from tests.models import reference_gaitpt as reference

TINY = {"frames": 6, "dims": (8, 8, 16, 16), "depths": (1, 2, 1, 2), "embedding_size": 8}


def walk(frames: int, seed: int = 0, joints: int = 18, channels: int = 2) -> torch.Tensor:
    return torch.rand(frames, joints, channels, generator=torch.Generator().manual_seed(seed))


def tiny(**more) -> GaitPT:
    torch.manual_seed(0)
    network = GaitPT(**{**TINY, **more})
    for name, parameter in network.named_parameters():  # so that everything shows in the result
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter) * (0.3 if "weight" not in name else 0.1))
    return network


def test_default_construction_has_the_published_size() -> None:
    network = GaitPT()
    assert sum(p.numel() for p in network.parameters()) == 4_498_784
    assert len(network.state_dict()) == len(reference.published_shapes()) == 287


@pytest.fixture(scope="module")
def pair() -> tuple[GaitPT, reference.ReferenceGaitPT]:
    """The network and the reference with the same, published, weights."""
    weights = reference.random_weights()
    published = reference.ReferenceGaitPT()
    published.load_state_dict(weights)
    network = GaitPT()
    checkpoints.load(network, {f"module.{key}": value for key, value in weights.items()})
    return network.eval(), published.eval()


@pytest.mark.slow
@pytest.mark.parametrize("length", [60, 75, 25])
def test_embedding_equals_the_published_arrangement_with_its_weights(pair, length: int, monkeypatch) -> None:
    network, published = pair
    poses = walk(length)
    with torch.no_grad():
        ours = network(poses[None])[0]
        theirs = torch.cat([published(poses[rows][None]) for rows in reference.frame_lists(length)]).mean(0)
        other = published(walk(60, seed=9)[None])[0]
    assert ours.shape == (256,)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert (theirs - other).abs().max() > 1e-2
    if length == 60:
        # with gradients, and without oneDNN's operator: other routes
        assert (network(poses[None])[0] - theirs).abs().max() < 1e-5
        monkeypatch.setattr(fast, "_FUSED", None)
        assert (network(poses[None])[0] - theirs).abs().max() < 1e-5
        with torch.no_grad():
            assert (network(poses[None])[0] - theirs).abs().max() < 1e-5


@pytest.mark.slow
def test_gradients_equal_the_published_arrangements(pair) -> None:
    network, published = pair
    poses, direction = walk(60, seed=3), torch.randn(256, generator=torch.Generator().manual_seed(1))
    network.zero_grad()
    published.zero_grad()
    (network(poses[None])[0] @ direction).backward()
    (published(poses[None])[0] @ direction).backward()
    renamed = checkpoints._apply(
        {k: p.grad for k, p in published.named_parameters()}, GaitPT.published_keys, "published"
    )
    for name, parameter in network.named_parameters():
        scale = renamed[name].abs().max()
        assert scale > 0
        assert (parameter.grad - renamed[name]).abs().max() < 1e-3 * scale, name
    network.zero_grad()


@pytest.mark.parametrize("frames", [60, 30, 7])
def test_two_windows_are_the_published_ones(frames: int) -> None:
    for length in range(1, 201):
        lists = reference.frame_lists(length, frames)
        found = starts(length, frames, "two")
        ours = [[t % length for t in range(first, first + frames)] for first in found]
        assert ours == lists
        (center,) = starts(length, frames, "center")
        if length >= frames:
            before, after = center, length - frames - center
            assert after - before in (0, 1)
        else:
            assert center == 0


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 17), min_size=1, max_size=6),
    chunk=st.integers(1, 9),
    short=st.sampled_from(["repeat", "trim"]),
    test=st.fixed_dictionaries(
        {
            "windows": st.sampled_from(["two", "center"]),
            "flip": st.booleans(),
            "mirror": st.sampled_from(["none", "plain", "swap"]),
        }
    ),
    seed=st.integers(0, 99),
)
def test_a_sequences_embedding_does_not_depend_on_its_pack(lengths, chunk, short, test, seed) -> None:
    network = tiny(chunk=chunk, short=short, test=test).eval()
    sequences = [walk(n, seed=seed + i) for i, n in enumerate(lengths)]
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed)).tolist()
    with torch.no_grad():
        packed = network(torch.cat(sequences)[None], torch.tensor([lengths]))
        alone = torch.cat([network(s[None]) for s in sequences])
        shuffled = network(torch.cat([sequences[i] for i in order])[None], [lengths[i] for i in order])
    torch.testing.assert_close(packed, alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(shuffled, packed[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", [3, 6, 7, 13, 20])
def test_windows_and_variants_are_averaged_and_not_normalised_again(length: int) -> None:
    poses = 5 * walk(length, seed=length)
    for flip in (False, True):
        for mirror in ("none", "plain", "swap"):
            network = tiny(test={"flip": flip, "mirror": mirror}).eval()
            expected = []
            for rows in reference.frame_lists(length, 6):
                for backwards in (False, True)[: 1 + flip]:
                    for mirrored in (False, True)[: 1 + (mirror != "none")]:
                        window = poses[rows[::-1] if backwards else rows].clone()
                        if mirrored:
                            for frame in window:
                                frame[:, 0] = 2 * frame[:, 0].mean() - frame[:, 0]
                            if mirror == "swap":
                                window = window[:, _exchanged("head_upper_lower")]
                        expected.append(network.embed(window[None])[0])
            result = network(poses[None])[0]
            torch.testing.assert_close(result, torch.stack(expected).mean(0), atol=1e-6, rtol=0)
            if length == 20:  # the average of what differs is shorter than 1
                assert result.norm() < 1 - 1e-5
    assert starts(20, 6, "center") == [7]
    center = tiny(test={"windows": "center"}).eval()
    torch.testing.assert_close(center(walk(20)[None]), center.embed(walk(20)[None, 7:13]), atol=1e-6, rtol=0)


def _exchanged(order: str) -> list[int]:
    """For each place, the place of the joint's namesake on the other side, by names."""
    names = [COCO_JOINTS[i] if i < 17 else "copy" for i in POSE_ORDERS[order]]
    other = {"left": "right", "right": "left"}
    return [names.index("_".join(other.get(part, part) for part in name.split("_"))) for name in names]


def test_missing_joints_stay_missing_when_sides_are_exchanged() -> None:
    network = tiny(test={"mirror": "swap"})
    window = walk(2) + 0.1
    window[0, 7] = 0  # left elbow
    mirrored = network._mirrored(window[None], swap=True)[0]
    seen = torch.arange(18) != 7
    right_elbow = POSE_ORDERS["head_upper_lower"].index(8)
    assert mirrored[0, right_elbow].eq(0).all()
    middle = window[0, seen, 0].mean()
    torch.testing.assert_close(mirrored[0, 7, 0], 2 * middle - window[0, right_elbow, 0])


def test_short_sequences_are_repeated_or_seen_at_their_own_length() -> None:
    poses = walk(4)
    repeat, trim = tiny().eval(), tiny(short="trim").eval()
    repeated = repeat(poses[None])
    torch.testing.assert_close(repeated, repeat(poses[[0, 1, 2, 3, 0, 1]][None]))
    own = trim(poses[None])
    assert (own - repeated).abs().max() > 1e-3
    torch.testing.assert_close(own, trim.embed(poses[None]))
    # the first position embeddings: a network of four frames that has only those
    small = tiny(frames=4).eval()
    weights = trim.state_dict()
    small.load_state_dict({k: v[:, :5] if "temporal.position" in k else v for k, v in weights.items()})
    torch.testing.assert_close(small(poses[None]), own)


@pytest.mark.parametrize("partition", [*POSE_ORDERS, [17, *range(16, -1, -1)]])
def test_raw_poses_are_ordered_by_the_partition(partition) -> None:
    network = tiny(partition=partition).eval()
    raw = walk(7, joints=17, channels=3)
    ordered = torch.stack([raw[:, row, :2] for row in coco_rows(partition)], 1)
    expected = network(ordered[None])
    assert torch.equal(network(raw[None]), expected)
    assert torch.equal(network(raw[None, ..., :2]), expected)
    assert (tiny(partition="head_opposite").eval()(raw[None]) - expected).abs().max() > 1e-3 or (
        partition == "head_opposite"
    )


def test_training_takes_random_windows_of_long_sequences_wherever_they_are() -> None:
    network = tiny(dropout=0.0)
    poses = walk(9)
    every = [network.embed(poses[None, first : first + 6])[0] for first in range(4)]
    seen = set()
    torch.manual_seed(0)
    for _ in range(40):
        for result in (network(poses[None])[0], network(torch.cat((walk(6, 5), poses))[None], [6, 9])[1]):
            close = [i for i, e in enumerate(every) if (e - result).abs().max() < 1e-5]
            assert len(close) == 1
            seen.add(close[0])
    assert seen == {0, 1, 2, 3}
    torch.manual_seed(3)
    one = network(poses[None])
    torch.manual_seed(3)
    assert torch.equal(network(poses[None]), one)


def test_a_pace_plays_frames_in_between_and_missing_joints_follow_the_nearer_frame() -> None:
    assert played_length(8, 0.07) == 101  # 7 / 0.07 is 99.99999999999999
    frames = walk(30, seed=3) + 0.1
    frames[12, 4] = 0
    lengths, offsets = [8, 15, 7], [0, 8, 23]
    paces, starts_, size = [1.0, 0.75, 2.5], [2, 5, 1], 9
    windows = paced_windows(frames, offsets, starts_, lengths, paces, size)
    for window, first, start, length, pace in zip(windows, offsets, starts_, lengths, paces):
        positions = [k * pace for k in range(4 * length) if k * pace <= length - 1]
        assert played_length(length, pace) == len(positions)
        for place, frame in enumerate(window):
            at = positions[(start + place) % len(positions)]
            before = int(at)
            after, share = min(before + 1, length - 1), at - before
            for joint in range(18):
                one, two = frames[first + before, joint], frames[first + after, joint]
                wanted = one + share * (two - one)
                if not (one.any() and two.any()):
                    found = one if one.any() else two
                    wanted = found if share == 0.5 else (one if share < 0.5 else two)
                torch.testing.assert_close(frame[joint], wanted, atol=1e-6, rtol=0)


def test_paces_that_leave_too_few_frames_are_drawn_only_if_all_do() -> None:
    torch.manual_seed(0)
    assert {draw_pace(12, 10, (0.5, 1.0, 2.0)) for _ in range(50)} == {0.5, 1.0}
    assert {draw_pace(30, 10, (0.5, 1.0, 2.0)) for _ in range(50)} == {0.5, 1.0, 2.0}
    assert {draw_pace(4, 10, (1.5, 2.0)) for _ in range(50)} == {1.5, 2.0}
    assert draw_pace(4, 10, ()) == 1.0


def test_training_draws_pace_flip_and_mirror_for_each_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    poses = walk(20, seed=9)
    certain = tiny(augmentation={"flip": 1.0, "mirror": 1.0, "swap": True}, dropout=0.0).train()
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(certain, "embed", lambda windows: seen.append(windows) or windows.new_zeros(len(windows), 4))
    certain(poses[None, :6])
    expected = poses[:6].flip(0).clone()
    expected[..., 0] = 2 * expected[..., 0].mean(1, keepdim=True) - expected[..., 0]
    torch.testing.assert_close(seen[0][0], expected[:, _exchanged("head_upper_lower")])
    paced = tiny(augmentation={"pace": (0.5, 2.0)}).train()
    monkeypatch.setattr(paced, "embed", lambda windows: seen.append(windows) or windows.new_zeros(len(windows), 4))
    torch.manual_seed(0)
    pack = torch.cat([poses, poses, poses[:9]])[None]
    for _ in range(10):
        paced(pack, [20, 20, 9])
    assert seen[1].shape == (3, 6, 18, 2)
    assert len({tuple(window[:, 0, 0].tolist()) for windows in seen[1:] for window in windows}) > 15


@pytest.mark.parametrize("short", ["repeat", "trim"])
def test_training_packs_of_differing_lengths(short: str) -> None:
    network = tiny(dropout=0.0, short=short)
    lengths = [6, 2, 6, 4, 2]
    sequences = [walk(n, seed=i) for i, n in enumerate(lengths)]
    packed = network(torch.cat(sequences)[None], torch.tensor([lengths]))
    alone = torch.cat([network(s[None]) for s in sequences])
    torch.testing.assert_close(packed, alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(packed, network.eval()(torch.cat(sequences)[None], lengths), atol=1e-6, rtol=0)
    torch.testing.assert_close(packed.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("short", ["repeat", "trim"])
def test_every_parameter_gets_a_gradient_and_dropout_is_drawn(short: str) -> None:
    network = tiny(short=short, dropout=0.2)
    poses = torch.stack([walk(6, i) for i in range(2)]).requires_grad_()
    before = poses.detach().clone()
    first = network(poses)
    (first @ torch.linspace(0, 1, 8)).sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert torch.equal(poses.detach(), before)
    assert not torch.equal(network(poses), first)
    assert torch.equal(network.eval()(poses), network(poses))


def test_autocast_and_double_and_export_work() -> None:
    network = tiny(frames=12).eval()
    poses = walk(12)[None]
    with torch.no_grad():
        expected = network(poses)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(network(poses).float(), expected, atol=0.05, rtol=0)
        exported = torch.export.export(network, (poses,)).module()
        torch.testing.assert_close(exported(poses), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(network.double()(poses).float(), expected, atol=1e-5, rtol=0)


def test_other_sizes_are_keywords() -> None:
    network = GaitPT(
        **{**TINY, "joints": 12, "partition": list(range(5, 17)), "patches": (1, 3, 4), "dims": (6, 9, 12)}
        | {"depths": (1, 1, 1), "heads": 3, "mlp_ratio": 2, "channels": 3},
    )
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert shapes["stages.1.embedding.weight"] == (9, 18)
    assert shapes["stages.1.spatial.encoder.layers.0.expand.weight"] == (18, 9)
    assert shapes["stages.0.temporal.position"] == (1, 7, 6)
    assert shapes["head.weight"] == (8, 12 * 6 + 4 * 9 + 12)
    assert not any(name.startswith("stages.2.spatial") for name in shapes)
    assert network.eval()(torch.rand(2, 9, 17, 3)).shape == (2, 8)


@pytest.mark.parametrize(
    ("poses", "seqL", "named"),
    [
        (torch.rand(1, 6, 16, 2), None, r"expected \[n, T, 18, 2\]"),
        (torch.rand(1, 6, 18, 3), None, r"expected \[n, T, 18, 2\]"),
        (torch.rand(1, 6, 17, 1), None, r"\[n, T, 17, 2 to 3\]"),
        (torch.rand(6, 18, 2), None, r"expected \[n, T, 18, 2\]"),
        (torch.rand(1, 0, 18, 2), None, "no frames"),
        (torch.rand(1, 5, 18, 2), torch.tensor([[2, 2]]), "5 frames"),
        (torch.rand(1, 5, 18, 2), torch.tensor([[5, 0]]), "at least 1"),
        (torch.rand(2, 5, 18, 2), torch.tensor([[5, 5]]), "batch size 2"),
    ],
)
def test_wrong_shapes_are_named(poses, seqL, named) -> None:
    for mode in (True, False):
        with pytest.raises(ShapeError, match=named):
            tiny().train(mode)(poses, seqL)


@pytest.mark.parametrize(
    ("settings_", "named"),
    [
        ({"frame": 30}, "frame.*did you mean 'frames'"),
        ({"test": {"window": "two"}}, "test.window.*did you mean 'windows'"),
        ({"test": {"mirror": True}}, "test.mirror"),
        ({"partition": "head_uper_lower"}, "did you mean 'head_upper_lower'"),
        ({"partition": [0, 1, 2]}, "orders 3 joints, not 18"),
        ({"partition": [*range(17), 16]}, "joint 16 twice"),
        ({"partition": 5}, "neither a name nor a list"),
        ({"patches": [1, 4, 2, 3]}, "18 tokens cannot be joined 4 by 4"),
        ({"dims": [32, 64, 128]}, "different numbers of stages"),
        ({"dims": [36, 64, 128, 256]}, "36 features cannot be shared"),
        ({"dropout": 1.0}, "less than 1"),
        ({"short": "pad"}, "'repeat' or 'trim'"),
        ({"chunk": 0}, "greater than or equal to 1"),
        (
            {"joints": 3, "patches": [1, 3, 1, 1], "partition": [5, 7, 9], "test": {"mirror": "swap"}},
            "joint 5 has no mirror image",
        ),
    ],
)
def test_wrong_settings_are_named(settings_: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){named}"):
        GaitPT(**settings_)


def test_published_own_and_hosted_checkpoints_load_strictly(tmp_path) -> None:
    weights = reference.random_weights()
    path = tmp_path / "published.pt"
    torch.save({f"module.{key}": value for key, value in weights.items()}, path)
    published = GaitPT()
    checkpoints.load(published, path)
    state = published.state_dict()
    # every weight came, each to a place of its own
    pool = sorted(float(v.double().sum()) for v in weights.values())
    assert sorted(float(v.double().sum()) for v in state.values()) == pool
    hosted = {"model": {f"network.{key}": value for key, value in state.items()}, "iteration": 7}
    for source in (weights, {"state_dict": weights}, state, hosted):
        other = GaitPT()
        checkpoints.load(other, source)
        assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), state.values()))
    short = {key: value for key, value in weights.items() if key != "layers.2.spatial_module.norm.weight"}
    with pytest.raises(CheckpointError, match=r"missing.*stages\.2\.spatial\.encoder\.norm\.weight"):
        checkpoints.load(other, short)
    with pytest.raises(CheckpointError, match="another shape"):
        checkpoints.load(GaitPT(frames=30), weights)
    with pytest.raises(CheckpointError, match="unknown"):
        checkpoints.load(other, {**weights, "layers.9.konv": torch.ones(1)})
