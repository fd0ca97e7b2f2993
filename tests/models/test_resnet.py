import pytest
import torch

from gaitext.models.resnet import strongest


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradient_are_amaxs_ties_included(count: int, form: torch.memory_format) -> None:
    torch.manual_seed(count)
    # few values, so that most places have ties
    maps = torch.randint(0, 3, (4 * count, 5, 6, 7)).float().contiguous(memory_format=form).requires_grad_()
    weights = torch.randn(4, 5, 6, 7)
    found = strongest(maps, count)
    (found * weights).sum().backward()
    gradient, maps.grad = maps.grad, None
    expected = maps.unflatten(0, (-1, count)).amax(1)
    (expected * weights).sum().backward()
    assert torch.equal(found, expected)
    torch.testing.assert_close(gradient, maps.grad)
    assert found.is_contiguous(memory_format=form)


def test_it_is_never_a_view() -> None:
    maps = torch.rand(2, 3, 4, 4)
    with torch.no_grad():
        strongest(maps, 1).zero_()
    assert maps.min() >= 0
    assert maps.max() > 0
