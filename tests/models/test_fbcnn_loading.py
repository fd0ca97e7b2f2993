"""An FBCNN of a checkpoint alone: sizes, names, and what is no FBCNN."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext import checkpoints
from gaitext.errors import CheckpointError
from gaitext.models import FBCNN, load_fbcnn
from tests.models import reference_fbcnn as reference

WIDTHS = st.integers(1, 5)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(WIDTHS, min_size=2, max_size=4),
    WIDTHS,
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.sampled_from(["", "module.", "corrector.", "network.corrector.", "module.network.corrector."]),
)
def test_sizes_are_those_of_the_weights(
    channels: list[int], embedding: int, blocks: int, image: int, prefix: str
) -> None:
    sizes = {"channels": channels, "embedding_size": embedding, "blocks": blocks, "image_channels": image}
    made = FBCNN(**sizes)
    loaded = load_fbcnn({"model": {prefix + key: value for key, value in made.state_dict().items()}, "iteration": 3})
    assert loaded.settings == made.settings
    assert not loaded.training
    for key, value in made.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_the_released_names(tmp_path: Path) -> None:
    weights = reference.random_weights(reference.published_shapes((4, 6, 8, 10), 5), 1)
    torch.save(weights, tmp_path / "fbcnn_color.pth")
    loaded = load_fbcnn(tmp_path / "fbcnn_color.pth")
    assert loaded.settings.channels == (4, 6, 8, 10)
    assert (loaded.settings.blocks, loaded.settings.embedding_size) == (4, 5)
    wanted = checkpoints.load(FBCNN(channels=(4, 6, 8, 10), embedding_size=5), weights).state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in loaded.state_dict().items())


def test_what_is_none(tmp_path: Path) -> None:
    whole = FBCNN(channels=(4, 6, 8), blocks=1, embedding_size=5).state_dict()
    for missing in whole:
        with pytest.raises(CheckpointError):
            load_fbcnn({key: value for key, value in whole.items() if key != missing})
    with pytest.raises(CheckpointError, match=r"holds no FBCNN.*head\.weight"):
        load_fbcnn({"fc.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="no such file"):
        load_fbcnn(tmp_path / "nothing.pth")
