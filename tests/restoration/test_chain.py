"""From corrector to loss, through a frozen estimator: only the reconstruction part moves."""

from pathlib import Path

import numpy as np
import torch

from gaitext.losses import CoordinateL1Loss
from gaitext.models import FBCNN
from gaitext.pose import load_estimator, soft_argmax


def test_the_loss_trains_the_corrector_and_nothing_else() -> None:
    torch.manual_seed(0)
    estimator = load_estimator("movenet:lightning", device="cpu")
    frozen = {name: value.clone() for name, value in estimator.network.state_dict().items()}  # type: ignore[attr-defined]
    corrector = FBCNN(channels=(4, 6, 8, 10), blocks=1, embedding_size=4, skip=True).start_as_identity()
    corrector.freeze_all_but_reconstruction().train()
    before = {name: value.clone() for name, value in corrector.state_dict().items()}
    picture = np.load(Path(__file__).parents[1] / "pose" / "movenet_reference.npz")["image"][:, 32:224]
    clean = torch.from_numpy(picture).permute(2, 0, 1).expand(2, 3, 256, 192) / 255
    images = (clean + 0.2 * torch.randn(2, 3, 256, 192)).clamp(0, 1)
    targets = soft_argmax(estimator.heatmaps(clean), 0.2)
    loss_of = CoordinateL1Loss("mean")
    optimiser = torch.optim.Adam(corrector.reconstruction_parameters(), lr=3e-4)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        found = soft_argmax(estimator.heatmaps(corrector(images, 0.5)), 0.2)
        loss, _ = loss_of(found, targets)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert max(losses[-3:]) < min(losses[:3])
    for name, value in estimator.network.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(value, frozen[name])
    moved = {
        name.split(".")[0] for name, value in corrector.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved == {"head", "down", "encoder", "decoder", "up", "tail"}
