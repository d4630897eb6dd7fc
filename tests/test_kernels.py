"""The quick operations of the transformation networks against the plain ones that they
stand for, gradients too.
"""

import pytest
import torch
import torch.nn.functional as F

from pltutorial.networks import FastTransformNet, TransformNet, _kernels

SHAPES = [(1, 8, 8), (2, 8, 12), (3, 14, 10)]


def _same(quick, plain, *inputs):
    """Values and the gradients of all inputs agree, for a random
    gradient from above.
    """
    results = []
    for function in (quick, plain):
        given = [tensor.clone().requires_grad_() for tensor in inputs]
        output = function(*given)
        above = torch.randn(
            output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype
        )
        results.append((output.detach(), *torch.autograd.grad(output, given, above)))
    for mine, theirs in zip(*results, strict=True):
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def _random(*shape):
    x = torch.randn(
        shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64
    )
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


def _unstack(x):
    """A stacked map (N, C, H/2, 2 W) as the map (N, C, H, W)."""
    count, channels, height, width = x.shape
    squares = x.reshape(count, channels, height, width // 4, 2, 2)
    return squares.permute(0, 1, 2, 4, 3, 5).reshape(
        count, channels, 2 * height, width // 2
    )


@pytest.mark.parametrize(("count", "height", "width"), SHAPES)
@pytest.mark.parametrize("stacked", [False, True])
def test_upsampled_conv(count, height, width, stacked):
    def quick(x, weight, bias):
        result = _kernels.upsampled_conv(x, weight, bias, stacked)
        return _unstack(result) if stacked else result

    def plain(x, weight, bias):
        large = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), weight, bias)

    _same(
        quick, plain, _random(count, 3, height, width), _random(5, 3, 3, 3), _random(5)
    )


@pytest.mark.parametrize(("count", "height", "width"), SHAPES)
@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_stacked_conv(count, height, width, kernel):
    def quick(x, weight, bias):
        return _kernels.stacked_conv(_kernels.stack(x), weight, bias)

    def plain(x, weight, bias):
        return F.conv2d(F.pad(x, (kernel // 2,) * 4, mode="reflect"), weight, bias)

    inputs = _random(count, 4, height, width), _random(3, 4, kernel, kernel), _random(3)
    _same(quick, plain, *inputs)


def test_stack_is_undone():
    x = _random(2, 3, 6, 10)
    assert torch.equal(_unstack(_kernels.stack(x)), x)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_instance_norm(rows, relu, layout):
    def plain(x, scale, shift):
        normal = F.instance_norm(x)
        result = normal * scale[..., None, None] + shift[..., None, None]
        return F.relu(result) if relu else result

    x = _random(3, 4, 5, 7).contiguous(memory_format=layout)
    _same(
        lambda *given: _kernels.instance_norm(*given, relu),
        plain,
        x,
        _random(rows, 4),
        _random(rows, 4),
    )


def test_instance_norm_of_a_cut_map_in_another_layout():
    """A view with strides of its own goes in: the result may not be in
    its order of memory.
    """
    x = _random(2, 4, 9, 9)[..., 1:-1, 2:-2]
    one = torch.ones(1, 4, dtype=torch.float64)
    mine = _kernels.instance_norm(x, one, 0 * one, False)
    torch.testing.assert_close(mine, F.instance_norm(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [TransformNet, FastTransformNet])
def test_no_gradient_changes_the_result_within_rounding_only(kind):
    """In bfloat16 the first layers stay in float32 without gradients: nearer to
    float32, and the same picture.
    """
    torch.manual_seed(0)
    network, image = kind(8, 2).eval(), torch.rand(1, 3, 48, 40)
    with torch.no_grad():
        exact = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            careful = network(image)
        coarse = network(image).detach()
    assert (careful - exact).abs().mean() < (coarse - exact).abs().mean() < 0.02


def test_plain_network_of_the_benchmarks_is_the_same_network():
    from benchmarks.plain import PlainTransformNet

    torch.manual_seed(0)
    network, image = TransformNet(8, 2).train(), torch.rand(2, 3, 32, 48)
    plain = PlainTransformNet.like(network)
    with torch.no_grad():
        torch.testing.assert_close(
            plain.picture(image), network(image), rtol=0, atol=2e-6
        )
