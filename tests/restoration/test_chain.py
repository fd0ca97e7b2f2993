"""From corrector to loss, through a frozen estimator: only the reconstruction part moves."""

import torch

from gaitext.losses import CoordinateL1Loss
from gaitext.models import FBCNN
from gaitext.pose import load_estimator, soft_argmax


def test_the_loss_trains_the_corrector_and_nothing_else() -> None:
    torch.manual_seed(0)
    estimator = load_estimator("bundled", device="cpu")
    frozen = {name: value.clone() for name, value in estimator.network.state_dict().items()}  # type: ignore[attr-defined]
    corrector = FBCNN(channels=(4, 6, 8, 10), blocks=1, embedding_size=4).freeze_all_but_reconstruction().train()
    before = {name: value.clone() for name, value in corrector.state_dict().items()}
    images = torch.rand(2, 3, 256, 192)
    targets = torch.rand(2, 17, 2) * torch.tensor([47.0, 63.0])
    loss_of = CoordinateL1Loss("mean")
    optimiser = torch.optim.Adam(corrector.reconstruction_parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        found = soft_argmax(estimator.heatmaps(corrector(images, 0.5)), 0.2)
        loss, _ = loss_of(found, targets)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.97 * losses[0]
    for name, value in estimator.network.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(value, frozen[name])
    moved = {
        name.split(".")[0] for name, value in corrector.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved == {"head", "down", "encoder", "decoder", "up", "tail"}
