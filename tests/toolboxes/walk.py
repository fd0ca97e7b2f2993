"""Walks through a toolbox's model classes, in each of their configs: can RG-Gait be built, trained and tested on them?

``python -m tests.toolboxes.walk ROOT RESULT [config …]``, in a process of its own, as a toolbox's import
leaves top-level packages named ``data``, ``utils``, … behind. ROOT is a linked checkout. The data are
made up, in the form that each config's transforms expect; networks have their published widths;
weights are random, normalisations' statistics too. Each config has a process of its own and ``LIMIT``
seconds: one that crashes or hangs is told of, and the others are walked.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaitext import store
from gaitext.errors import GaitextError
from gaitext.models import OcclusionEvaluator
from gaitext.toolboxes.cpu import redirect
from gaitext.toolboxes.toolbox import detect

EVALUATOR = {"channels": [2, 4, 4], "feature_size": 6}
FRAMES = 4
#: At most, of a residual network's stage: further ones are like the second.
BLOCKS = 2
#: Seconds for a config, on one busy core.
LIMIT = 440
IDENTITIES = ["001", "002"]
#: Over which MimicGait is tried as well, in one config: a model of frames, of clips, and of two inputs.
MIMICKED = ("Baseline", "DeepGaitV2", "SkeletonGaitPP")
SKELETONS = ("GaitTR", "GaitGraph", "MSGG", "SkeletonInput", "TwoView", "HOD_")


# Data ---------------------------------------------------------------------------------------------


def raw_inputs(cfgs: Mapping[str, Any], frames: int, generator: np.random.Generator) -> list[Any]:
    """What a leaf of the config's dataset holds, in the order of ``data_in_use``."""
    model, transforms = cfgs["model_cfg"], str(cfgs["trainer_cfg"]["transform"])
    name = model["model"]
    high, wide = 64, 64
    if "img_w': 128" in transforms or name == "GLN" or "HID" in str(cfgs["data_cfg"]):
        high = wide = 128
    if "Cutting" not in transforms:
        wide = wide * 44 // 64
    y, x = np.mgrid[:high, :wide]
    width = high / 8 + generator.normal(0, 1, (frames, 1, 1))
    body = ((x - wide / 2) / width) ** 2 + ((y - high / 2) / (high * 0.46)) ** 2 < 1
    silhouettes = body.astype(np.uint8) * 255
    parsing = (body * (1 + (y * 11) // high)).astype(np.uint8)
    main = parsing if "Parsing" in str(cfgs["data_cfg"]["dataset_name"]) else silhouettes

    def maps(channels: int) -> np.ndarray:
        return np.repeat(silhouettes[:, None], channels, 1) // (1 + np.arange(channels, dtype=np.uint8))[:, None, None]

    if any(word in transforms for word in SKELETONS):
        joints = 18 if "alphapose" in transforms or "openpose" in transforms else 17
        return [generator.uniform(20, 200, (frames, joints, 3)).astype(np.float32)]
    rgb = generator.integers(0, 255, (frames, 3, 128, 64), dtype=np.uint8)
    if name.startswith(("BigGait", "BiggerGait")):
        if "'Rearrange'" in transforms:
            rgb = rgb.transpose(0, 2, 3, 1)
        sizes = np.tile(np.array([[128, 64]]), (frames, 1))
        return [rgb, sizes if "RatioHW" in transforms else np.full(frames, 0.5)][
            : len(cfgs["trainer_cfg"]["transform"])
        ]
    if name in ("GaitEdge", "Segmentation"):
        square = np.kron(silhouettes[:, :, : min(wide, 64)], np.ones((1, 2, 1), np.uint8))
        square = square[:, :128, :64] if square.shape[2] >= 64 else np.pad(square, ((0, 0), (0, 0), (0, 20)))
        inputs = [np.full(frames, 0.5), rgb, square]
        return inputs if name == "GaitEdge" else inputs[1:]
    if name == "DenoisingGait":
        y, x = np.mgrid[:96, :48]
        mask = ((x - 24) / 12) ** 2 + ((y - 48) / 44) ** 2 + np.zeros((frames, 1, 1)) < 1
        return [generator.normal(size=(frames, 4, 96, 48)).astype(np.float32), mask.astype(np.uint8) * 255]
    if name == "SMPLGait":
        return [main, generator.normal(size=(frames, 85)).astype(np.float32)]
    if name == "LidarGaitPlusPlus":
        return [generator.normal(size=(frames, 600, 4)).astype(np.float32)]
    if name == "SkeletonGaitPP":
        return [maps(2), silhouettes]
    if name == "MultiGaitpp":
        return [maps(model["Backbone"]["part1_channel"] + model["Backbone"]["part2_channel"])]
    channels = (model.get("Backbone") or model.get("backbone_cfg") or {}) if name in ("DeepGaitV2", "Baseline") else {}
    count = channels.get("in_channels", channels.get("in_channel", 1)) if isinstance(channels, Mapping) else 1
    return [main] if count == 1 else [maps(count)]


def make_dataset(cfgs: Mapping[str, Any], root: Path) -> None:
    generator = np.random.default_rng(0)
    scoliosis = "Scoliosis" in str(cfgs["data_cfg"]["dataset_name"])
    walks = ["negative", "positive"] if scoliosis else ["nm-01", "nm-05"]
    # Some transforms of poses cut so many frames out.
    long = 200 if "SelectSequence" in str(cfgs["trainer_cfg"]["transform"]) else 0
    for identity in [*IDENTITIES, "075", "076"]:
        for kind in walks if identity in IDENTITIES else walks[:1]:
            frames = long or int(generator.integers(5, 8))
            named = {f"{i}_in": each for i, each in enumerate(raw_inputs(cfgs, frames, generator))}
            store.write_leaf(root / "data", identity, kind, "000", named)
    store.write_json(root / "partition.json", {"TRAIN_SET": IDENTITIES, "TEST_SET": ["075", "076"]})


# Configs ------------------------------------------------------------------------------------------


def shrunk(cfgs: dict[str, Any], dataset: Path) -> dict[str, Any]:
    """The same model on the made-up dataset, few frames and no mixed precision."""
    cfgs = copy.deepcopy(cfgs)
    data = cfgs["data_cfg"][0] if isinstance(cfgs["data_cfg"], list) else cfgs["data_cfg"]
    kept = {key: value for key, value in data.items() if key != "data_in_use"}
    cfgs["data_cfg"] = {
        **kept,
        **{"test_dataset_name": data["dataset_name"], "num_workers": 0, "cache": False, "remove_no_gallery": False},
        **{"dataset_root": str(dataset / "data"), "dataset_partition": str(dataset / "partition.json")},
    }
    if "frame_threshold" in data:
        cfgs["data_cfg"]["frame_threshold"] = 0
    for section in ("trainer_cfg", "evaluator_cfg"):
        cfgs[section].update(enable_float16=False, restore_hint=0, save_name="walk", with_test=False)
        sampler = cfgs[section]["sampler"]
        sampler.update(frames_num_fixed=FRAMES, frames_num_min=FRAMES - 2, frames_num_max=FRAMES, frames_skip_num=0)
        sampler.pop("points_in_use", None)
    if isinstance(cfgs["trainer_cfg"]["transform"][0], list):  # two views of each sequence, for a self-supervised loss
        cfgs["trainer_cfg"]["transform"] = cfgs["evaluator_cfg"]["transform"]
    transform = str(cfgs["trainer_cfg"]["transform"])
    if "SelectSequence" in transform:
        cfgs["trainer_cfg"]["sampler"]["frames_num_fixed"] = 120
    cfgs["trainer_cfg"]["sampler"].update(type="TripletSampler", batch_size=[2, 2])
    cfgs["evaluator_cfg"]["sampler"].update(type="InferenceSampler", batch_size=1)
    cfgs["evaluator_cfg"]["eval_func"] = "evaluate_indoor_dataset"
    cfgs["trainer_cfg"].update(sync_BN=False, total_iter=1)
    for part in ("Backbone", "backbone_cfg"):
        built = cfgs["model_cfg"].get(part)
        if isinstance(built, dict) and isinstance(built.get("layers"), list):
            built["layers"] = [min(blocks, BLOCKS) for blocks in built["layers"]]
    return cfgs


def class_count(model_cfg: Any) -> int | None:
    """The identities that the model's head tells apart."""
    if isinstance(model_cfg, Mapping):
        for key in ("SeparateBNNecks", *model_cfg):
            if key == "class_num" and isinstance(model_cfg[key], int):
                return int(model_cfg[key])
            found = class_count(model_cfg.get(key))
            if found:
                return found
    return None


def system_cfgs(native: dict[str, Any], gse: Path, oem: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    cfgs = copy.deepcopy(native)
    cfgs["model_cfg"] = {
        "model": "RGGait",
        "class_num": class_count(native["model_cfg"]) or len(IDENTITIES),
        "gse": {"model_cfg": native["model_cfg"], "checkpoint": str(gse)},
        "oem": {"checkpoint": str(oem), **EVALUATOR},
        **settings,
    }
    if cfgs["data_cfg"]["dataset_name"] == "Scoliosis1K":
        cfgs["model_cfg"]["class_num"] = max(3, len(IDENTITIES))
    cfgs["loss_cfg"] = [
        {"type": "TripletLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0},
        {"type": "CrossEntropyLoss", "log_prefix": "softmax", "scale": 16, "loss_term_weight": 1.0},
    ]
    cfgs["optimizer_cfg"] = {"solver": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 5.0e-4}
    cfgs["scheduler_cfg"] = {"scheduler": "MultiStepLR", "gamma": 0.1, "milestones": [100]}
    return cfgs


# One config ---------------------------------------------------------------------------------------


def shake(network: nn.Module) -> None:
    """Weights and statistics of normalisations as after a training, so that none of them is the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)


def train_once(models: Any, cfgs: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    """One iteration; returns the weights, and how many of the FRN's are trained of how many."""
    torch.manual_seed(0)
    system = models.RGGait(cfgs, True)
    inputs = next(iter(system.train_loader))
    output = system(system.inputs_pretreament(inputs))
    loss, _ = system.loss_aggregator(output["training_feat"])
    loss.backward()
    trained = {name for name, weight in system.named_parameters() if weight.requires_grad}
    idle = [name for name, weight in system.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not idle, f"no gradient reaches {idle}"
    assert torch.isfinite(loss), "the loss is not finite"
    system.optimizer.step()
    weights = system.state_dict()
    twin = [name for name, _ in system.named_parameters() if name.startswith("network.frn.")]
    return weights, len(trained & set(twin)), len(twin)


def mimic_once(models: Any, cfgs: dict[str, Any]) -> int:
    """MimicGait's iteration and test over the same model; returns how many embeddings the loss compared."""
    cfgs = copy.deepcopy(cfgs)
    wanted = ("gse", "oem", "inputs", "occlusion")
    kept = {key: value for key, value in cfgs["model_cfg"].items() if key in wanted}
    cfgs["model_cfg"] = {"model": "MimicGait", **kept}
    cfgs["loss_cfg"] = [{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.2, "loss_term_weight": 1.0}]
    torch.manual_seed(0)
    system = models.MimicGait(cfgs, True)
    output = system(system.inputs_pretreament(next(iter(system.train_loader))))
    loss, _ = system.loss_aggregator(output["training_feat"])
    loss.backward()
    idle = [name for name, weight in system.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not idle, f"no gradient reaches {idle} in MimicGait"
    assert torch.isfinite(loss), "MimicGait's loss is not finite"
    taught = [name for name, weight in system.named_parameters() if ".gse." in name and weight.grad is not None]
    assert not taught, f"the teacher learns: {taught}"
    system.optimizer.step()
    tested = models.MimicGait(cfgs, False)
    tested.load_state_dict(system.state_dict(), strict=True)
    compared: Tensor = output["training_feat"]["triplet"]["embeddings"]
    with torch.no_grad():
        found = tested(tested.inputs_pretreament(next(iter(tested.test_loader))))["inference_feat"]["embeddings"]
    assert found.shape[1:] == compared.shape[1:]
    assert torch.isfinite(found).all()
    return len(compared)


def native_outputs(native: Any, inputs: Any) -> tuple[Tensor, list[Tensor]]:
    """The embeddings that the toolbox compares, and what goes into the model's BNNecks."""
    before: list[Tensor] = []
    necks = [m for m in native.modules() if type(m).__name__ == "SeparateBNNecks"]
    if getattr(native, "Bn_head", False):
        necks = [native.Bn]
    hooks = [neck.register_forward_pre_hook(lambda _m, args: before.append(args[0])) for neck in necks]
    with torch.no_grad():
        found = native(native.inputs_pretreament(inputs))["inference_feat"]["embeddings"]
    for hook in hooks:
        hook.remove()
    return found, before


def natively(native: Any) -> str | None:
    """What keeps the toolbox itself from testing the model; None: nothing does."""
    try:
        native_outputs(native, next(iter(native.test_loader)))
    except Exception as error:  # whatever it says
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def gap(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the scale; infinite for another shape."""
    if ours.shape[1:] != theirs.shape[1:] and ours.flatten(1).shape == theirs.flatten(1).shape:
        theirs = theirs.view_as(ours)
    if ours.shape != theirs.shape:
        if ours.ndim == theirs.ndim == 3 and ours.shape[2] < theirs.shape[2]:
            return gap(ours, theirs[:, :, : ours.shape[2]])
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12))


def test_once(models: Any, native: Any, cfgs: dict[str, Any], weights: dict[str, Any]) -> tuple[str, float]:
    """Without a residual the system gives what the model does: alone, packed, and as a fixed batch."""
    system = models.RGGait(cfgs, False)
    weights = {**weights, "network.mix.weight": torch.zeros_like(weights["network.mix.weight"])}
    system.load_state_dict(weights, strict=True)
    worst, where = 0.0, "its embedding"
    alone = []
    with torch.no_grad():
        for inputs in system.test_loader:
            theirs, before = native_outputs(native, inputs)
            ours = system(system.inputs_pretreament(inputs))["inference_feat"]["embeddings"]
            difference = gap(ours, theirs)
            if difference > 1e-6 and before:
                difference, where = gap(ours, before[0]), "before its BNNeck"
            worst = max(worst, difference)
            alone.append(ours)
        every = torch.cat(alone)
        dataset, collate = system.test_loader.dataset, system.test_loader.collate_fn
        samples = [dataset[i] for i in range(len(dataset))]
        packed = system(system.inputs_pretreament(collate(samples)))["inference_feat"]["embeddings"]
        worst = max(worst, gap(packed, every))
        # A fixed batch: every sequence cut to the same length, and each of them alone.
        short = [([part[:5] for part in parts], of) for parts, of in samples]
        fixed = collate(short)
        rows = torch.cat(
            [system(system.inputs_pretreament(collate([one])))["inference_feat"]["embeddings"] for one in short]
        )
        sequences, *rest, _ = fixed
        equal = [
            list(np.asarray(part[0]).reshape(len(short), -1, *np.asarray(part[0]).shape[1:])) for part in sequences
        ]
        together = system(system.inputs_pretreament((equal, *rest, None)))["inference_feat"]["embeddings"]
        worst = max(worst, gap(together, rows))
    return where, worst


def walk_config(models: Any, cfgs: dict[str, Any], scratch: Path, mimic: bool) -> dict[str, Any]:
    kind = getattr(models, cfgs["model_cfg"]["model"])
    dataset = scratch / "set"
    make_dataset(shrunk(cfgs, dataset) | {"data_cfg": _first(cfgs["data_cfg"])}, dataset)
    cfgs = shrunk(cfgs, dataset)
    left_out = stand_in(cfgs["model_cfg"], scratch)
    oem = scratch / "oem.pt"
    torch.save(OcclusionEvaluator(**EVALUATOR).state_dict(), oem)
    result: dict[str, Any] = {"refusals": [], **({"added": left_out} if left_out else {})}
    try:
        torch.manual_seed(0)
        if any(base.__name__ == "MultiDatasets" for base in kind.__mro__):
            # Its own loader wants a list of datasets.
            native = kind({**cfgs, "data_cfg": [cfgs["data_cfg"]]}, False)
        else:
            native = kind(cfgs, False)
        native.eval()
        shake(native)
    except Exception as error:  # whatever keeps the toolbox itself from building it
        native = None
        traceback.clear_frames(error.__traceback__)
        result["unbuilt"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    gse = scratch / "gse.pt"
    torch.save({"model": native.state_dict() if native is not None else {}}, gse)
    settings: dict[str, Any] | None = {}
    while settings is not None:
        try:
            weights, trained, of = train_once(models, system_cfgs(cfgs, gse, oem, settings))
            where, worst = test_once(models, native, system_cfgs(cfgs, gse, oem, settings), weights)
            if mimic:
                result["mimicked"] = mimic_once(models, system_cfgs(cfgs, gse, oem, settings))
        except GaitextError as error:
            result["refusals"].append(error.what)
            if "cannot be run" in error.what and native is not None:
                result["alone"] = natively(native)
            settings = next((way for said, way in WAYS.items() if said in error.what and way != settings), None)
            continue
        result.update(settings=settings, compares=where, difference=worst, trained=trained, of=of)
        break
    return result


#: What a refusal says -> the setting that it names.
WAYS: dict[str, dict[str, Any]] = {
    "numbers of each frame": {"inputs": ["silhouettes", "other"]},
    "images only": {"adaptive": False, "occlusion_aware": False},
}


def _first(data: Any) -> Any:
    return data[0] if isinstance(data, list) else data


def stand_in(model_cfg: dict[str, Any], scratch: Path) -> str | None:
    """Random weights where a model wants pretrained ones that are not here; returns what the config left out."""
    if "pretrained_dinov2" in model_cfg:
        backbone = importlib.import_module("modeling.models.BigGait_utils.DINOv2")
        path = scratch / "dinov2.pth"
        torch.save(backbone.vit_small(logger=importlib.import_module("utils").get_msg_mgr()).state_dict(), path)
        model_cfg["pretrained_dinov2"] = str(path)
    if "pretrained_lvm" in model_cfg:
        transformers = importlib.import_module("transformers")
        # Smaller than published: twelve gait networks on each frame take too long on a CPU.
        model_cfg["image_size"] = 112
        model_cfg["backbone_cfg"]["channels"] = [8, 16, 32, 64]
        model_cfg["SeparateFCs"]["in_channels"] = 64
        width = model_cfg["source_dim"]
        sizes = {"hidden_size": width, "num_attention_heads": 6, "image_size": 112}
        config = transformers.Dinov2Config(num_hidden_layers=model_cfg["total_layer_num"], **sizes)
        model_cfg["pretrained_lvm"] = str(scratch / "lvm")
        transformers.Dinov2Model(config).save_pretrained(model_cfg["pretrained_lvm"])
        # It counts operations for a line of its log.
        counting = types.ModuleType("fvcore.nn")
        vars(counting)["FlopCountAnalysis"] = lambda *_: types.SimpleNamespace(total=lambda: 0.0)
        sys.modules.update({"fvcore": types.ModuleType("fvcore"), "fvcore.nn": counting})
        branch = importlib.import_module("modeling.models.BiggerGait_DINOv2").infoDistillation(
            **model_cfg["Mask_Branch"]
        )
        model_cfg["pretrained_mask_branch"] = str(scratch / "mask.pt")
        torch.save({"model": branch.state_dict()}, model_cfg["pretrained_mask_branch"])
    if model_cfg["model"] == "MultiGaitpp" and "in_channels" not in model_cfg["Backbone"]:
        # Read by the model, and used by nothing.
        model_cfg["Backbone"]["in_channels"] = 1
        return "Backbone.in_channels"
    return None


def walk_apart(models: Any, cfgs: dict[str, Any], mimic: bool) -> dict[str, Any]:
    """:func:`walk_config` in a process of its own; gaitext's faults, crashes and slow models are ``fault``."""
    scratch = Path(tempfile.mkdtemp())
    told = scratch / "row.json"

    def walk() -> None:
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        logger = logging.getLogger("walk")
        logger.setLevel(logging.CRITICAL)
        importlib.import_module("utils").get_msg_mgr().logger = logger
        try:
            row = walk_config(models, cfgs, scratch, mimic)
        except Exception as error:  # a fault of gaitext's: the row says so
            row = {"fault": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-2500:]}
        store.write_json(told, row)

    # Forked, as the toolbox's import takes long; nothing has been computed yet that a fork would not survive.
    process = multiprocessing.get_context("fork").Process(target=walk)
    process.start()
    process.join(LIMIT)
    try:
        if process.is_alive():
            process.kill()
            process.join()
            return {"fault": f"not done within {LIMIT} s", "trace": ""}
        if not told.exists():
            return {"fault": f"the process ended with {process.exitcode}", "trace": ""}
        row: dict[str, Any] = json.loads(told.read_text())
        return row
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def configs(root: Path) -> Iterator[Path]:
    for path in sorted((root / "configs").rglob("*.yaml")):
        if path.name != "default.yaml" and re.search(r"^model_cfg:", path.read_text(), re.M):
            yield path


def fed(cfgs: Mapping[str, Any]) -> str:
    """What a frame of each input is, and the test's transforms of it."""
    shapes = [np.asarray(each[0]).shape for each in raw_inputs(cfgs, 2, np.random.default_rng(0))]
    lists = []
    for entry in cfgs["evaluator_cfg"]["transform"]:
        steps = entry.get("trf_cfg") or [entry]
        lists.append(" ".join(step["type"] for step in steps))
    return f"{', '.join(str(list(shape)) for shape in shapes)}: {', '.join(lists)}"


def structure(cfgs: Mapping[str, Any]) -> str:
    """What decides how a model is built and fed, but for sizes: configs of the same structure are walked once."""
    data = _first(cfgs["data_cfg"])
    model = {key: value for key, value in cfgs["model_cfg"].items() if "lr" not in key and "pretrained" not in key}
    inputs = raw_inputs(cfgs, 3, np.random.default_rng(0))
    # Widths, depths and counts of channels, joints and classes make no other kind of network.
    built = re.sub(r"(?<![\w'])-?\d[\d.e-]*(, -?\d[\d.e-]*)*", "#", str(model))
    deep = "GaitGL" in built and data["dataset_name"] in ("OUMVLP", "GREW")  # GaitGL asks the dataset's name
    fixed = str(cfgs["trainer_cfg"]["sampler"]["sample_type"]).startswith("fixed")
    return str([built, [np.asarray(each).ndim for each in inputs], deep, fixed])


def main(root: Path, result: Path, only: list[str]) -> None:
    toolbox = detect(root)
    vars(np)["float"] = float  # which one of OpenGait's random transforms still writes
    redirect(world_size=1)
    sys.path[0:0] = [str(root / toolbox.package)]
    os.chdir(root)
    models = importlib.import_module("modeling.models")
    base = importlib.import_module("modeling.base_model").BaseModel
    mine = importlib.import_module("gaitext.toolboxes.registered").MARK
    classes = sorted(
        name
        for name, kind in vars(models).items()
        if isinstance(kind, type)
        and issubclass(kind, base)
        and not getattr(kind, mine, False)
        and "forward" in vars(kind)
    )
    found: dict[str, Any] = {"toolbox": toolbox.name, "classes": classes, "configs": {}}
    if result.exists():  # a walk that was stopped goes on
        done = json.loads(result.read_text())["configs"]
        found["configs"] = {name: row for name, row in done.items() if "fault" not in row and "like" not in row}
    walked: dict[str, str] = {}
    for path in configs(root):
        name = str(path.relative_to(root / "configs"))
        if only and not any(word in name for word in only):
            continue
        cfgs = importlib.import_module("utils.common").config_loader(str(path))
        model = cfgs["model_cfg"]["model"]
        if getattr(getattr(models, model, None), mine, False):
            row: dict[str, Any] = {"own": True}
        elif (like := walked.setdefault(structure({**cfgs, "data_cfg": _first(cfgs["data_cfg"])}), name)) != name:
            row = {"like": like}
        elif name in found["configs"]:
            row = found["configs"][name]
        else:
            begin = time.monotonic()
            mimicked = any("mimicked" in each for each in found["configs"].values() if each["model"] == model)
            row = {
                **walk_apart(models, cfgs, model in MIMICKED and not mimicked),
                "seconds": round(time.monotonic() - begin),
            }
        if "like" not in row:
            row["inputs"] = fed({**cfgs, "data_cfg": _first(cfgs["data_cfg"])})
        found["configs"][name] = {**row, "model": model}
        sys.stdout.write(f"{name}: { {k: v for k, v in found['configs'][name].items() if k != 'trace'} }\n")
        sys.stdout.flush()
        store.write_json(result, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:])
