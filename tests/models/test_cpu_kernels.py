"""The linear layer, dropout and attention that GaitPT takes on a CPU, against torch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gaitext.models.gaitpt_blocks import attend, drop, linear, self_attention


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    width=st.integers(1, 40),
    out=st.integers(1, 40),
    gelu=st.booleans(),
    add=st.booleans(),
    strided=st.booleans(),
)
def test_linear_and_its_gradients_are_torchs(rows, width, out, gelu, add, strided) -> None:
    torch.manual_seed(0)
    x = torch.randn(*rows, 2 * width)[..., ::2] if strided else torch.randn(*rows, width)
    weight, bias = torch.randn(out, width), torch.randn(out)
    residual = torch.randn(*rows, out) if add and not gelu else None
    expected = F.linear(x.double(), weight.double(), bias.double())
    expected = F.gelu(expected) if gelu else expected if residual is None else expected + residual
    with torch.no_grad():
        found = linear(x, weight, bias, gelu=gelu, residual=residual)
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-4)
    gradients = []
    for dtype, call in ((torch.float32, linear), (torch.float64, F.linear)):
        inputs = [t.detach().clone().to(dtype).requires_grad_() for t in (x, weight, bias)]
        call(*inputs).pow(2).sum().backward()
        gradients.append([t.grad.float() for t in inputs])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-3)


def test_linear_gives_gradients_only_where_they_are_wanted() -> None:
    x, weight, bias = torch.randn(3, 4), torch.randn(5, 4, requires_grad=True), torch.randn(5)
    linear(x, weight, bias).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(5, 4))


def test_dropout_drops_its_share_evenly_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.full((1000, 403), 3.0, requires_grad=True)
    y = drop(x, 0.2)
    dropped = y == 0
    # five standard deviations
    assert dropped.float().mean() == pytest.approx(0.2, abs=5 * (0.16 / 403_000) ** 0.5)
    for lane in range(4):  # of one draw
        assert dropped.flatten()[lane::4].float().mean() == pytest.approx(0.2, abs=5 * (0.16 / 100_750) ** 0.5)
    for shift in (1, 2, 3, 4):  # neighbours are independent
        both = (dropped.flatten()[shift:] & dropped.flatten()[:-shift]).float().mean()
        assert both == pytest.approx(0.04, abs=5 * (0.04 / 403_000) ** 0.5)
    assert y[~dropped].sub(3 / 0.8).abs().max() < 1e-4
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(dropped, 0.0, 1.25), atol=1e-4, rtol=0)
    torch.manual_seed(0)
    assert torch.equal(drop(x, 0.2), y)
    assert not torch.equal(drop(x, 0.2), y)
    assert drop(x, 0.0) is x


@pytest.mark.parametrize("tokens", [1, 3, 6, 18, 24, 25, 61])
@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_torchs(tokens: int, heads: int) -> None:
    torch.manual_seed(0)
    qkv = 3 * torch.randn(5, tokens, 3 * heads * 4)
    expected = torch.empty(5, tokens, heads * 4)
    for b in range(5):
        for h in range(heads):
            q, k, v = (qkv[b, :, part * heads * 4 + h * 4 :][:, :4].double() for part in range(3))
            expected[b, :, h * 4 : h * 4 + 4] = torch.softmax(q @ k.T / 2, -1) @ v
    torch.testing.assert_close(self_attention(qkv, heads), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(self_attention(qkv.requires_grad_(), heads), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(self_attention(qkv.double(), heads).float(), expected, atol=1e-5, rtol=1e-5)
    q, k, v = qkv.view(5, tokens, 3, heads, 4).permute(2, 0, 3, 1, 4).unbind(0)
    torch.testing.assert_close(attend(q[:, :, :1], k, v), expected[:, :1], atol=1e-5, rtol=1e-5)


def test_attention_weights_are_dropped_one_by_one() -> None:
    torch.manual_seed(0)
    # equal weights 1/8 and unit values: each result counts the weights that are left
    qkv = torch.cat((torch.zeros(400, 8, 16), torch.ones(400, 8, 8)), -1)
    counts = self_attention(qkv, 2, 0.25) * 8 * 0.75
    assert (counts - counts.round()).abs().max() < 1e-4
    assert counts.mean() == pytest.approx(6, abs=0.1)
    assert set(counts.round().int().unique().tolist()) >= {3, 4, 5, 6, 7, 8}
