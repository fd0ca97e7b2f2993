import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext import checkpoints, geometry
from gaitext.errors import CheckpointError, ConfigError, ShapeError
from gaitext.models import GaitHeat, GaitHeatOutput
from gaitext.models.gaitheat_inputs import Frames, augment, normalise_sequences
from gaitext.models.pgha import warp
from tests.models import reference_gaitheat as reference

TINY = {"class_num": 5, "channels": (4, 6, 8, 10), "embedding_size": 6}


def walker(frames: int, lean: float, seed: int = 0) -> torch.Tensor:
    """Heatmaps [T, 17, 64, 48] of a stick person leaning by ``lean`` degrees, with distinct peaks."""
    generator = torch.Generator().manual_seed(seed)
    angle = math.radians(lean)
    along = {5: (-4.0, 0.0), 6: (4.0, 0.0), 11: (-3.0, 22.0), 12: (3.0, 22.0)}
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    out = torch.zeros(frames, 17, 64, 48)
    for t in range(frames):
        for joint in range(17):
            dx, dy = along.get(joint, tuple((torch.rand(2, generator=generator) * 20 - 6).tolist()))
            px = 24 + dx * math.cos(angle) - dy * math.sin(angle)
            py = 18 + dx * math.sin(angle) + dy * math.cos(angle)
            out[t, joint] = torch.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) * (
                0.5 + 0.5 * torch.rand(1, generator=generator)
            )
    return out


def test_default_construction_has_the_published_size() -> None:
    network = GaitHeat(class_num=74)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 16.94
    assert round(sum(v.numel() for v in network.state_dict().values()) / 1e6, 2) == 16.98


@pytest.mark.slow
@pytest.mark.parametrize("lean", [0.0, 12.0, -25.0])
def test_embedding_equals_the_published_arrangement_with_its_weights(lean: float) -> None:
    weights = reference.random_weights(reference.published_shapes())
    network = GaitHeat()
    checkpoints.load(network, {f"module.{key}": value for key, value in weights.items()})
    heatmaps = walker(2, lean)
    with torch.no_grad():
        ours = network.eval()(heatmaps[None])[0]
    published = reference.ReferenceGaitHeat(resamplings=1).eval()
    published.load_state_dict(weights)
    with torch.no_grad():
        theirs = published(heatmaps[None])[0]
        other = published(walker(2, lean, seed=9)[None])[0]
    assert ours.shape == (256, 16)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    # and it is not the same for everything
    assert (theirs - other).abs().max() > 1e-3


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    chunk=st.integers(1, 9),
    branches=st.sampled_from([("local", "global", "fusion"), ("global",), ("local",), ("global", "fusion")]),
    merge=st.sampled_from(["after", "before"]),
)
def test_a_sequences_embedding_does_not_depend_on_its_pack(lengths, chunk, branches, merge) -> None:
    torch.manual_seed(0)
    network = GaitHeat(**TINY, branches=branches, chunk=chunk, alignment={"merge": merge}).eval()
    # Different ranges, so that extremes taken over the pack would show.
    sequences = [walker(n, lean=7.0 * i, seed=i) * (1 + i) - i for i, n in enumerate(lengths)]
    with torch.no_grad():
        packed = network(torch.cat(sequences)[None], torch.tensor([lengths]))
        alone = torch.cat([network(s[None]) for s in sequences])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)


def test_fixed_and_packed_training_agree() -> None:
    torch.manual_seed(0)
    network = GaitHeat(**TINY, alignment={"probability": 0})
    heatmaps = torch.stack([walker(4, 10.0, seed=i) for i in range(3)])
    fixed, packed = network(heatmaps), network(heatmaps.reshape(1, 12, 17, 64, 48), torch.tensor([[4, 4, 4]]))
    for branch in ("local", "global", "fusion"):
        torch.testing.assert_close(fixed.heads[branch].embeddings, packed.heads[branch].embeddings)
        torch.testing.assert_close(fixed.heads[branch].logits, packed.heads[branch].logits)
        assert fixed.heads[branch].logits.shape == (3, 5, 16)


def test_in_training_statistics_are_the_whole_batchs_with_and_without_gradients() -> None:
    torch.manual_seed(0)
    network = GaitHeat(**TINY, chunk=2, alignment={"probability": 0})
    twin = copy.deepcopy(network)
    heatmaps, lengths = torch.cat([walker(n, 10.0, seed=n) for n in (5, 1, 3)])[None], [5, 1, 3]
    expected = network.signature(heatmaps, lengths).detach()
    with torch.no_grad():
        torch.testing.assert_close(twin.signature(heatmaps, lengths), expected, atol=1e-5, rtol=1e-5)
        for name, value in network.state_dict().items():
            torch.testing.assert_close(twin.state_dict()[name], value, atol=1e-6, rtol=1e-5)
        network.training = False  # as an RG-Gait holds it: its layers alone are in training
        torch.testing.assert_close(network(heatmaps, lengths), network.heads["fusion"].neck.embed(expected))


@pytest.mark.parametrize("source", ["heatmaps", "poses", "frame"])
def test_aligned_maps_are_those_of_float64(source: str) -> None:
    """Positions in float32 are off by 1e-5 pixels: ReLUs then flip, and gradients are off by 1 %."""
    torch.manual_seed(0)
    how = {} if source == "heatmaps" else {"keypoints": "poses"}
    how |= {"pose_pixels": "frame"} if source == "frame" else {}
    network = GaitHeat(**TINY, alignment=how | {"threshold": 0.0}).eval()
    heatmaps, poses = torch.rand(1, 40, 17, 64, 48), torch.rand(1, 40, 17, 3)
    crops = torch.tensor([1700.0, 900.0, 48.0, 64.0]).expand(1, 40, 4)
    poses[..., :2] *= torch.tensor([48, 64])
    if source == "frame":
        poses[..., :2] += crops[..., None, :2]
    given = {} if source == "heatmaps" else {"poses": poses} | ({"crops": crops} if source == "frame" else {})
    frames, _ = network._read(heatmaps, None, given.get("poses"), given.get("crops"), None, augmented=False)
    found = network.alignment(keypoints=frames.keypoints)(frames.heatmaps)
    points = poses[0].double()
    if source == "frame":
        points[..., :2] -= crops[0, :, None, :2].double()  # a crop of the map's size
    elif source == "heatmaps":
        index = heatmaps[0].flatten(2).argmax(-1)
        points = torch.stack((index % 48, index // 48, torch.ones_like(index)), -1).double()
    neck, hip, _ = geometry.spine(points, 0.0)
    inverse = geometry.invert(geometry.alignment_matrices(neck, hip, network.settings.alignment.anchor))
    theta = geometry.normalised(inverse, 64, 48)
    grid = torch.nn.functional.affine_grid(theta, [40, 17, 64, 48], align_corners=False)
    expected = torch.nn.functional.grid_sample(
        frames.heatmaps.double(), grid, padding_mode=network.settings.alignment.padding, align_corners=False
    )
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 1e-7


def test_normalisation_is_per_sequence_and_survives_a_constant_one() -> None:
    frames = torch.cat([torch.full((2, 3, 4, 4), 7.0), torch.rand(3, 3, 4, 4) * 9 - 2])
    normal = normalise_sequences(frames, [2, 3])
    assert normal[:2].eq(0).all()
    assert normal[2:].min() == 0
    assert normal[2:].max() == 1
    slow = (frames[2:] - frames[2:].min()) / (frames[2:].max() - frames[2:].min())
    torch.testing.assert_close(normal[2:], slow)


def test_warp_moves_a_pixel_where_the_matrix_says() -> None:
    maps = torch.zeros(1, 1, 64, 48)
    maps[0, 0, 20, 10] = 1
    shift = torch.tensor([[[1.0, 0, 5], [0, 1, -3]]])
    moved = warp(maps, geometry.invert(shift), "zeros")
    assert moved[0, 0, 17, 15] == pytest.approx(1, abs=1e-4)
    assert moved.sum() == pytest.approx(1, abs=1e-4)


def test_aligned_neck_lands_on_the_anchor_and_the_spine_is_upright() -> None:
    network = GaitHeat(**TINY, branches=("local",), partition=[[5], [6], [11], [12]]).eval()
    for lean in (8.0, -30.0):
        maps = network.part_maps(walker(1, lean))[0]
        found = [torch.tensor([int(m.argmax()) % 48, int(m.argmax()) // 48], dtype=torch.float) for m in maps]
        neck, hip = (found[0] + found[1]) / 2, (found[2] + found[3]) / 2
        assert (neck - torch.tensor([24.0, 16.0])).abs().max() <= 1
        assert abs(neck[0] - hip[0]) <= 1.5
        assert hip[1] > neck[1]


def test_small_leans_are_left_alone_in_evaluation_and_sometimes_aligned_in_training() -> None:
    network = GaitHeat(**TINY, branches=("global",), alignment={"threshold": 20.0, "probability": 0.5})
    frames = walker(60, 10.0)
    torch.manual_seed(0)
    untouched = frames.amax(1)
    trained = network.train().part_maps(frames)[:, 0]
    share = (trained != untouched).flatten(1).any(1).float().mean()
    assert 0.3 < share < 0.7
    assert torch.equal(network.eval().part_maps(frames)[:, 0], untouched)


@pytest.mark.parametrize("joint", [5, 12])
def test_a_frame_without_neck_or_hip_is_unchanged(joint: int) -> None:
    network = GaitHeat(**TINY, branches=("global",), alignment={"threshold": 0.0}).eval()
    frames = walker(1, 25.0)
    assert not torch.equal(network.part_maps(frames)[:, 0], frames.amax(1))
    frames[:, joint] = 0
    assert torch.equal(network.part_maps(frames)[:, 0], frames.amax(1))


def test_keypoints_from_heatmaps_poses_matrices_and_frame_poses_agree() -> None:
    frames = walker(3, 15.0)
    peaks = frames.flatten(2).argmax(-1)
    poses = torch.stack((peaks % 48, peaks // 48, torch.ones_like(peaks)), -1).float()
    from gaitext.transforms import PoseToAlignment

    matrices = torch.from_numpy(PoseToAlignment()(poses.numpy()))
    crop = torch.tensor([[100.0, 50.0, 150.0, 200.0]]).expand(3, 4)
    in_frame = poses.clone()
    in_frame[..., :2] = geometry.apply(geometry.invert(geometry.crop_matrices(crop, 64, 48)), poses[..., :2])
    results = []
    for source, pixels, extra in (
        ("heatmaps", "heatmap", {}),
        ("poses", "heatmap", {"poses": poses[None]}),
        ("matrices", "heatmap", {"matrices": matrices[None]}),
        ("poses", "frame", {"poses": in_frame[None], "crops": crop[None]}),
    ):
        torch.manual_seed(0)
        network = GaitHeat(**TINY, alignment={"keypoints": source, "pose_pixels": pixels}).eval()
        with torch.no_grad():
            results.append(network(frames[None], **extra))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-5, rtol=0)


def test_merging_offline_equals_merging_before() -> None:
    from gaitext.transforms import HeatmapMerge

    frames = walker(3, 15.0)
    poses = torch.rand(1, 3, 17, 3) * 40
    results = []
    for merge, maps in (("before", frames), ("offline", torch.from_numpy(HeatmapMerge()(frames.numpy())))):
        torch.manual_seed(0)
        # "local" alone: before aligns max over V, offline takes the max of the aligned parts
        network = GaitHeat(**TINY, branches=("local",), alignment={"keypoints": "poses", "merge": merge}).eval()
        with torch.no_grad():
            results.append(network(maps[None], poses=poses))
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=0)


def test_mirror_augmentation_is_the_mirrored_walk_for_every_source_of_keypoints() -> None:
    from gaitext.transforms import PoseToAlignment
    from gaitext.transforms.heatmap import mirror_heatmaps
    from gaitext.transforms.pose import mirror_poses

    frames = walker(3, 15.0)
    peaks = frames.flatten(2).argmax(-1)
    poses = torch.stack((peaks % 48, peaks // 48, torch.ones_like(peaks)), -1).float()
    mirrored = torch.from_numpy(mirror_heatmaps(frames.numpy()))
    mirrored_poses = torch.from_numpy(mirror_poses(poses.numpy(), 48))
    to_matrices = PoseToAlignment()
    for source, inputs, expected in (
        ("heatmaps", {}, {}),
        ("poses", {"poses": poses[None]}, {"poses": mirrored_poses[None]}),
        (
            "matrices",
            {"matrices": torch.from_numpy(to_matrices(poses.numpy()))[None]},
            {"matrices": torch.from_numpy(to_matrices(mirrored_poses.numpy()))[None]},
        ),
    ):
        torch.manual_seed(0)
        options = {"keypoints": source, "probability": 0.0}
        flips = GaitHeat(**TINY, alignment=options, augmentation={"mirror": 1.0})
        plain = GaitHeat(**TINY, alignment=options)
        plain.load_state_dict(flips.state_dict())
        two = lambda t: torch.cat((t, t))  # noqa: E731 (BatchNorm1d needs two sequences)
        ours = flips(two(frames[None]), **{k: two(v) for k, v in inputs.items()})
        theirs = plain(two(mirrored[None]), **{k: two(v) for k, v in expected.items()})
        torch.testing.assert_close(ours.preview, theirs.preview, atol=2e-3, rtol=0)


@pytest.mark.parametrize("source", ["heatmaps", "frame poses", "matrices"])
def test_alignment_is_computed_in_full_precision_under_autocast(source: str) -> None:
    frames = torch.cat([walker(1, lean, seed=i) for i, lean in enumerate(torch.linspace(-9, 9, 40).tolist())])
    peaks = frames.flatten(2).argmax(-1)
    poses = torch.stack((peaks % 48, peaks // 48, torch.ones_like(peaks)), -1).float()
    crop = torch.tensor([[1203.7, 641.3, 411.0, 548.0]]).expand(40, 4)
    options: dict = {"keypoints": source.split()[-1]}
    inputs: dict = {}
    if source == "frame poses":
        options["pose_pixels"] = "frame"
        poses[..., :2] = geometry.apply(geometry.invert(geometry.crop_matrices(crop, 64, 48)), poses[..., :2])
        inputs = {"poses": poses[None], "crops": crop[None]}
    elif source == "matrices":
        from gaitext.transforms import PoseToAlignment

        inputs = {"matrices": torch.from_numpy(PoseToAlignment()(poses.numpy()))[None]}
    torch.manual_seed(0)
    options["probability"] = 0.0
    network = GaitHeat(**TINY, alignment=options, augmentation={"mirror": 1.0})
    two = {name: torch.cat((t, t)) for name, t in {"heatmaps": frames[None], **inputs}.items()}
    plain = network(**two).preview
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network(**two).preview, plain, atol=1e-5, rtol=0)


def test_min_score_is_the_height_of_the_peak_as_it_came() -> None:
    network = GaitHeat(**TINY, branches=("global",), alignment={"threshold": 0.0, "min_score": 0.3}).eval()
    frames = walker(1, 25.0)
    seen: list[bool] = []
    network.alignment.register_forward_hook(lambda _m, _i, out: seen.append(len(out.chosen) == 1))
    with torch.no_grad():
        network(frames[None])
        network(frames[None] * 0.2)
    assert seen == [True, False]


def test_mirror_is_drawn_per_sequence_of_a_pack() -> None:
    torch.manual_seed(1)
    network = GaitHeat(**TINY, alignment={"enabled": False}, augmentation={"mirror": 0.5})
    frames = torch.cat([walker(2, 10.0, seed=i) for i in range(40)])
    changed = (augment(Frames(frames), [2] * 40, network.settings).heatmaps != frames).flatten(1).any(1).view(40, 2)
    assert (changed[:, 0] == changed[:, 1]).all()
    assert 8 < int(changed[:, 0].sum()) < 32


def test_inputs_are_not_changed_in_place() -> None:
    network = GaitHeat(**TINY, augmentation={"mirror": 1.0, "reverse": 1.0})
    heatmaps = torch.stack([walker(2, 20.0), walker(2, -20.0)]).requires_grad_()
    before = heatmaps.detach().clone()
    network(heatmaps)
    assert torch.equal(heatmaps.detach(), before)


@pytest.mark.parametrize("settings_", [{}, {"alignment": {"attention": True}}, {"branches": ("global", "local")}])
def test_every_parameter_gets_a_gradient(settings_: dict) -> None:
    network = GaitHeat(**TINY, **settings_)
    output = network(torch.stack([walker(2, 20.0), walker(2, 3.0, seed=1)]))
    assert isinstance(output, GaitHeatOutput)
    sum(h.embeddings.square().mean() + h.logits.square().mean() for h in output.heads.values()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_evaluation_runs_neither_the_classifiers_nor_the_other_heads() -> None:
    network = GaitHeat(**TINY).eval()
    ran: list[str] = []
    for name, module in network.heads.items():
        module.fc.register_forward_hook(lambda *_, name=name: ran.append(name))
    with torch.no_grad():
        for head in network.heads.values():
            head.neck.classifier.fill_(float("nan"))
        assert network(walker(2, 0.0)[None]).isfinite().all()
    assert ran == ["fusion"]


def test_one_frame_and_constant_sequences_embed_to_finite_numbers() -> None:
    network = GaitHeat(**TINY).eval()
    with torch.no_grad():
        assert network(walker(1, 5.0)[None]).isfinite().all()
        assert network(torch.zeros(1, 1, 17, 64, 48)).isfinite().all()


@pytest.mark.parametrize(
    ("heatmaps", "seqL", "named"),
    [
        (torch.rand(1, 2, 16, 64, 48), None, "17, 64, 48"),
        (torch.rand(1, 2, 17, 64, 44), None, "17, 64, 48"),
        (torch.rand(1, 0, 17, 64, 48), None, "no frames"),
        (torch.rand(1, 5, 17, 64, 48), torch.tensor([[2, 2]]), "5 frames"),
        (torch.rand(1, 5, 17, 64, 48), torch.tensor([[5, 0]]), "at least 1"),
        (torch.rand(2, 5, 17, 64, 48), torch.tensor([[5, 5]]), "batch size 2"),
    ],
)
def test_wrong_shapes_are_named(heatmaps, seqL, named) -> None:
    with pytest.raises(ShapeError, match=named):
        GaitHeat(**TINY).eval()(heatmaps, seqL)


def test_poses_of_another_length_are_named() -> None:
    network = GaitHeat(**TINY, alignment={"keypoints": "poses"}).eval()
    with pytest.raises(ShapeError, match="poses have shape"):
        network(torch.rand(1, 4, 17, 64, 48), poses=torch.rand(1, 3, 17, 3))
    with pytest.raises(ShapeError, match="poses are missing"):
        network(torch.rand(1, 4, 17, 64, 48))


@pytest.mark.parametrize(
    ("settings_", "named"),
    [
        ({"clas_num": 3}, "clas_num.*did you mean 'class_num'"),
        ({"alignment": {"treshold": 3}}, "alignment.treshold.*did you mean 'threshold'"),
        ({"partition": "uper_lower"}, "did you mean 'upper_lower'"),
        ({"partition": [[0, 99]]}, "joint 99"),
        ({"branches": ["fusion"]}, "local"),
        ({"bins": 7}, "does not divide"),
        ({"alignment": {"merge": "offline"}}, "poses"),
        ({"partition": [5, 6]}, "not a list of joint indices"),
        ({"partition": 5}, "not a list of joint indices"),
        ({"bins": 0}, "greater than or equal to 1"),
        ({"bins": []}, "at least 1"),
        ({"strides": [1, 2, 0, 1]}, "greater than or equal to 1"),
        ({"channels": [64, 128]}, "too few entries"),
        (
            {
                "partition": {"a": [5, 7]},
                "augmentation": {"mirror": 0.5},
                "alignment": {"merge": "offline", "keypoints": "poses"},
            },
            "mirror image",
        ),
    ],
)
def test_wrong_settings_are_named(settings_: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){named}"):
        GaitHeat(**settings_)


def test_checkpoints_round_trip_and_are_strict(tmp_path) -> None:
    network = GaitHeat(**TINY)
    other = GaitHeat(**TINY)
    own = tmp_path / "own.pt"
    torch.save(network.state_dict(), own)
    hosted = {"model": {f"network.{k}": v for k, v in network.state_dict().items()}, "iteration": 7}
    compiled = {"model": {f"network._orig_mod.{k}": v for k, v in network.state_dict().items()}}
    for source in (own, hosted, {"module." + k: v for k, v in hosted["model"].items()}, compiled):
        assert not torch.equal(other.stem.conv.weight, network.stem.conv.weight)
        checkpoints.load(other, source)
        assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), network.state_dict().values()))
        other = GaitHeat(**TINY)
    short = dict(network.state_dict())
    short.pop("stem.conv.weight")
    before = other.stem.norm.weight.clone()
    with pytest.raises(CheckpointError, match=r"missing.*stem\.conv\.weight"):
        checkpoints.load(other, short)
    with pytest.raises(CheckpointError, match="another shape"):
        checkpoints.load(GaitHeat(**{**TINY, "class_num": 6}), network.state_dict())
    with pytest.raises(CheckpointError, match="unknown"):
        checkpoints.load(other, {**network.state_dict(), "stem.konv": torch.ones(1)})
    assert torch.equal(other.stem.norm.weight, before)


def test_a_checkpoint_that_holds_code_is_not_opened(tmp_path) -> None:
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("never",))

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="can run code") as caught:
        checkpoints.load(GaitHeat(**TINY), path)
    assert "weights_only" not in str(caught.value)
    for content, named in ((b"", "is empty"), (b"PK junk", "damaged")):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=named):
            checkpoints.load(GaitHeat(**TINY), path)
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoints.load(GaitHeat(**TINY), tmp_path / "none.pt")
