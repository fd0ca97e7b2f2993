"""Which checkpoints load, and what is said of those that do not."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError
from gaitext.training.runs import check_steps, restore_optimizer, restore_schedule, warn_of_schedule


def network(classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes))


def saved(folder: Path, content: Any, **options: Any) -> Path:
    path = folder / "net.pt"
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "module.network."])
def test_wrappers_prefixes_are_removed_from_all_keys_or_all_but_one(tmp_path: Path, prefix: str, old: bool) -> None:
    weights = {key: torch.full_like(value, 3) for key, value in network().state_dict().items()}
    for bare in (None, "0.weight", "3.bias"):
        named = {key if key == bare else prefix + key: value for key, value in weights.items()}
        path = saved(tmp_path, {"model": named}, _use_new_zipfile_serialization=not old)
        model = checkpoints.load(network(), path)
        assert all((value == 3).all() for value in model.state_dict().values())
    odd = {("module." + key if key == "0.bias" else key): value for key, value in weights.items()}
    assert (checkpoints.load(network(), odd).state_dict()["0.bias"] == 3).all()


def with_value(value: float) -> Tensor:
    made = torch.zeros(2)
    made[1] = value
    return made


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("0.bias", with_value(float("nan")), "NaN or infinity"),
        ("1.running_var", with_value(float("inf")), "NaN or infinity"),
        ("0.bias", torch.zeros(2, dtype=torch.float64) + 1e300, "NaN or infinity"),
        ("0.bias", torch.zeros(2, dtype=torch.int64), "int64"),
        ("0.bias", torch.zeros(2, dtype=torch.bool), "bool"),
        ("0.bias", torch.zeros(2, dtype=torch.complex64), "complex"),
        ("1.num_batches_tracked", torch.tensor(3.0), "float32"),
        ("1.num_batches_tracked", torch.tensor(True), "bool"),
        ("0.bias", torch.zeros(2).to_sparse(), "dense"),
        ("0.bias", torch.zeros(2, device="meta"), "meta"),
        ("3.weight", torch.quantize_per_tensor(torch.zeros(4, 8), 0.1, 0, torch.qint8), "quantised"),
        ("0.bias", 3, "is int"),
    ],
)
def test_weights_that_are_no_numbers_of_the_models_kind_are_named(
    tmp_path: Path, key: str, value: Any, named: str
) -> None:
    path = saved(tmp_path, {**network().state_dict(), key: value})
    for load in (checkpoints.load, checkpoints.fitting):
        with pytest.raises(CheckpointError, match=named) as caught:
            load(network(), path)
        assert key in str(caught.value)
        assert str(path) in str(caught.value)


def test_other_precisions_and_a_counter_load(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        weights = {k: v.to(dtype) if v.is_floating_point() else v.int() for k, v in network().state_dict().items()}
        checkpoints.load(network(), saved(tmp_path, weights))


def rewritten(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)


def test_damaged_archives_are_refused_before_torch_sees_them(tmp_path: Path) -> None:
    path = saved(tmp_path, network().state_dict())
    whole = path.read_bytes()
    values = network().state_dict()["3.weight"].numpy().tobytes()
    at = whole.index(values)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])  # torch compares no checksum
    with pytest.raises(CheckpointError, match="CRC"):
        checkpoints.read_file(path)

    def shorten(records: dict[str, bytes]) -> None:
        name = next(name for name in records if name.endswith("/data/0"))
        records[name] = records[name][:4]

    def claim(records: dict[str, bytes]) -> None:
        name = next(name for name in records if name.endswith("data.pkl"))
        assert b"K\x12tq" in records[name]  # the 18 values of the convolution's weight
        records[name] = records[name].replace(b"K\x12tq", b"J\xff\xff\xff\x7ftq", 1)

    def bomb(records: dict[str, bytes]) -> None:
        name = next(name for name in records if name.endswith("data.pkl"))
        records[name] = b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."

    def fill(records: dict[str, bytes]) -> None:
        records[next(iter(records)).split("/")[0] + "/data/99"] = bytes(1 << 27)

    for change, named in (
        (shorten, "has 4 bytes"),
        (claim, "claims 8589934588"),
        (bomb, "asks for bytes"),
        (fill, "far more"),
    ):
        path.write_bytes(whole)
        rewritten(path, change, zipfile.ZIP_DEFLATED if change is fill else zipfile.ZIP_STORED)
        with pytest.raises(CheckpointError, match=named):
            checkpoints.read_file(path)
    path.write_bytes(whole[:-30])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.read_file(path)


def test_files_without_checksums_and_of_safetensors_are_read(tmp_path: Path) -> None:
    weights = network().state_dict()
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path, weights)
    finally:
        torch.serialization.set_crc32_options(True)
    save_file(weights, tmp_path / "net.safetensors")
    for each in (path, tmp_path / "net.safetensors"):
        found = checkpoints.read_state_dict(each)
        assert all(torch.equal(found[key], value) for key, value in weights.items())


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.script(network()).save(path)
    with pytest.raises(CheckpointError, match="TorchScript"):
        checkpoints.read_file(path)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"), io.BytesIO())
    with pytest.raises(CheckpointError, match="oldest format"):
        checkpoints.read_file(path)
    for content, named in (
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=named):
            checkpoints.read_file(path)


def stepped(model: nn.Module, kind: Any = torch.optim.Adam) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = kind(model.parameters(), lr=0.1)
    model(torch.ones(2, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    return optimizer


def test_an_optimizers_state_is_kept_shape_by_shape(caplog: pytest.LogCaptureFixture) -> None:
    theirs = stepped(network()).state_dict()
    model = network(classes=7)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with pytest.raises(CheckpointError, match=r"3\.weight"):
        restore_optimizer(optimizer, model, theirs, "net.pt", reset="")
    loaded = {name for name, _ in model.named_parameters() if not name.startswith("3.")}
    restore_optimizer(optimizer, model, theirs, "net.pt", loaded=loaded, reset="")
    assert "anew for 2 weights, such as '3.weight'" in caplog.text
    kept = {name for name, value in model.named_parameters() if value in optimizer.state}
    assert kept == loaded
    assert torch.equal(optimizer.state[model[0].weight]["exp_avg"], theirs["state"][0]["exp_avg"])  # type: ignore[index]
    model(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("state", "named"), [(None, "no state"), ({"state": {}}, "groups"), ({"state": {}, "param_groups": [3]}, "groups")]
)
def test_what_is_no_optimizers_state_is_said(state: Any, named: str) -> None:
    model = network()
    with pytest.raises(CheckpointError, match=named):
        restore_optimizer(stepped(model), model, state, "net.pt", reset="set it anew")
    other = stepped(network(), torch.optim.SGD).state_dict()
    with pytest.raises(CheckpointError, match="another than Adam"):
        restore_optimizer(stepped(model), model, other, "net.pt", reset="set it anew")


def test_a_finished_schedule_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    def schedule(lr: float = 0.1) -> Any:
        optimizer = torch.optim.SGD(network().parameters(), lr=lr)
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])

    done, new = schedule(), schedule()
    for _ in range(5):
        done.optimizer.step()
        done.step()
    assert restore_schedule(new, done.state_dict(), "net.pt", partial=False, reset="")
    warn_of_schedule(new, [0.1], "net.pt", "reset it")
    assert "finished" in caplog.text
    assert "reset it" in caplog.text
    caplog.clear()
    warn_of_schedule(schedule(), [0.1], "net.pt", "reset it")
    assert not caplog.text
    other = torch.optim.lr_scheduler.CosineAnnealingLR(new.optimizer, 10)
    with pytest.raises(CheckpointError, match="no CosineAnnealingLR"):
        restore_schedule(other, done.state_dict(), "net.pt", partial=False, reset="")
    assert not restore_schedule(other, done.state_dict(), "net.pt", partial=True, reset="")
    cycle = torch.optim.lr_scheduler.OneCycleLR(new.optimizer, 0.1, total_steps=10)
    with pytest.raises(ConfigError, match="10 steps"):
        check_steps(cycle, 11, "scheduler_cfg")


def test_weights_of_the_package_are_loaded_where_the_record_says_they_are_the_same(tmp_path: Path) -> None:
    path, record, model = tmp_path / "net.safetensors", tmp_path / "net.json", network()
    save_file(
        {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}, path
    )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_text(json.dumps({"weights": {path.name: {"sha256": found}}}))
    assert checkpoints.packaged_sha256(path, "net.json") == found
    fresh = checkpoints.load_packaged(network().train(), path, "net.json")
    assert not fresh.training
    assert all(torch.equal(value, model.state_dict()[key].half().float()) for key, value in fresh.state_dict().items())
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    for content in (bytes(damaged), b""):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"other weights than net\.json"):
            checkpoints.load_packaged(network(), path, "net.json")
    for told in ("{", "{}", "[]", '{"weights": []}', '{"weights": {"net.safetensors": 1}}'):
        record.write_text(told)
        with pytest.raises(CheckpointError, match="cannot be read"):
            checkpoints.packaged_sha256(path, "net.json")
