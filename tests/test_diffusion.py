"""Flow matching: the path and its samplers by formula, the network, the task's losses,
students, and what is refused.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from helpers import refused

import pltutorial
from pltutorial import InputError, train, zoo
from pltutorial.faces import load_faces
from pltutorial.flow import centred, noisy, path, pictured, velocity
from pltutorial.networks import FlowNet, load_network, save_network
from pltutorial.tasks.diffuse import (
    LEAST_LEFT,
    DiffusionSettings,
    DiffusionTask,
    classes_of,
    draw,
    steps_of,
)
from pltutorial.training.collection import PicturesInMemory

TINY = {"channels": (8, 8, 8), "size": 16, "batch_size": 4, "progress": False}
QUICK = {"steps": 2, "log_every": 1, "sample_every": 0, "precision": "float32"}


def noise_of(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A tiny network, told hair colours, in a file."""
    torch.manual_seed(0)
    network = FlowNet(
        (8, 8, 8), size=16, classes=classes_of("hair_color"), condition="hair_color"
    )
    return save_network(tmp_path_factory.mktemp("flow") / "tiny.safetensors", network)


@pytest.fixture
def network(file):
    return load_network(file, "cpu")


# --- the path -----------------------------------------------------------------------


def test_the_path_is_straight_and_its_velocity_is_picture_less_noise():
    x, noise, t = noise_of(3, 3, 4, 4), noise_of(3, 3, 4, 4, seed=1), torch.rand(3)
    x_t = noisy(x, noise, t)
    for k in range(3):
        torch.testing.assert_close(
            x_t[k], float(t[k]) * x[k] + (1 - float(t[k])) * noise[k]
        )
    torch.testing.assert_close(velocity(x, x_t, t), x - noise, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("steps", [1, 3])
def test_who_knows_the_picture_is_there_after_any_number_of_steps(solver, steps):
    x = noise_of(1, 3, 4, 4, seed=2)
    *_, (t, end) = path(lambda x_t, t: x, noise_of(1, 3, 4, 4), steps, solver)
    assert t == 1
    torch.testing.assert_close(end, x, atol=1e-5, rtol=1e-5)


def test_one_step_of_euler_is_the_estimate_at_noise_alone():
    noise = noise_of(2, 3, 4, 4)
    ((_, end),) = path(lambda x_t, t: x_t.tanh(), noise, 1)
    torch.testing.assert_close(end, noise.tanh())


def posterior_mean(x_t, t):
    """The best denoiser of two values, -1 and 1, equally frequent."""
    if t == 0:
        return torch.zeros_like(x_t)
    return torch.tanh(t * x_t / (1 - t) ** 2)


def test_the_best_denoiser_of_two_values_ends_in_both_and_never_between():
    """And one step ends in their mean."""
    noise = noise_of(1, 1, 20, 50).double()
    *_, (_, many) = path(posterior_mean, noise, 200)
    ((_, one),) = path(posterior_mean, noise, 1)
    assert (many.abs() - 1).abs().max() < 1e-3
    assert abs(float((many > 0).double().mean()) - 0.5) < 0.06
    torch.testing.assert_close(one, torch.zeros_like(one))


def test_heun_is_nearer_than_euler_at_equal_steps():
    """Of a Gaussian of deviation 0.5, for which the way is known."""

    def denoise(x_t, t):
        return t * 0.25 * x_t / (t * t * 0.25 + (1 - t) ** 2)

    noise = noise_of(1, 1, 8, 8).double()
    ends = {
        solver: [x for _, x in path(denoise, noise, 8, solver)][-1]
        for solver in ("euler", "heun")
    }
    error = {k: float((end - 0.5 * noise).abs().mean()) for k, end in ends.items()}
    assert error["heun"] < error["euler"] / 2


def test_what_the_path_refuses():
    noise = noise_of(1, 3, 4, 4)
    with refused("steps=0", "at least 1"):
        path(posterior_mean, noise, 0)
    with refused("'rk4'", "euler"):
        path(posterior_mean, noise, 2, "rk4")


def test_pictures_are_centred_and_back():
    image = torch.rand(1, 3, 4, 4)
    assert float(centred(torch.zeros(1))) == -1
    torch.testing.assert_close(pictured(centred(image)), image)
    assert float(pictured(torch.tensor(3.0))) == 1


# --- the network --------------------------------------------------------------------


def test_the_network_sees_time_and_label(network):
    x_t = noise_of(2, 3, 16, 16)
    with torch.no_grad():
        plain = network(x_t, 0.5)
        assert plain.shape == x_t.shape
        assert plain.dtype == torch.float32
        none = torch.full((2,), len(network.classes))
        torch.testing.assert_close(network(x_t, torch.tensor([0.5, 0.5]), none), plain)
        assert not torch.allclose(network(x_t, 0.6), plain)
        assert not torch.allclose(network(x_t, 0.5, torch.tensor([0, 1])), plain)
        again, inner = network(x_t, 0.5, hidden=True)
    torch.testing.assert_close(again, plain)
    assert inner.shape == (2, 8, 2, 2)


def test_the_default_network_has_so_many_numbers_that_four_of_them_fit():
    network = FlowNet(classes=list("abcde"))
    assert 4 * 2 * sum(p.numel() for p in network.parameters()) < 5_000_000


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"channels": (8, 8)}, ["channels=(8, 8)", "three multiples of 8"]),
        ({"channels": (8, 12, 8)}, ["(8, 12, 8)", "three multiples of 8"]),
        ({"size": 20}, ["20 pixels", "a multiple of 8"]),
    ],
)
def test_what_the_network_refuses(how, words):
    with refused(*words):
        FlowNet(**how)
    with refused("(2, 3, 8, 8)", "(N, 3, 16, 16)"):
        FlowNet((8, 8, 8), size=16)(torch.zeros(2, 3, 8, 8), 0.5)


# --- the task -----------------------------------------------------------------------


def test_the_loss_is_the_squared_error_of_the_velocity():
    settings = DiffusionSettings(**TINY)
    task = DiffusionTask(settings)
    stream = task.own_pictures()
    images = torch.stack([stream[n][0] for n in range(8, 12)])
    terms = task.loss(task.network, images, 8)
    t, noise = task._times(range(8, 12)), task._noise(range(8, 12))
    column = t.view(-1, 1, 1, 1)
    x = 2 * images - 1
    estimate = task.network(
        column * x + (1 - column) * noise, t, task._labels(range(8, 12))
    )
    error = (estimate - x) / (1 - column).clamp_min(LEAST_LEFT)
    torch.testing.assert_close(terms["velocity"], error.square().mean())
    assert list(terms) == ["velocity"]


def test_what_is_drawn_depends_on_the_number_alone():
    task = DiffusionTask(DiffusionSettings(**TINY, untold=0.5))
    task.own_pictures()
    for draw_them in (task._times, task._noise, task._labels):
        together = draw_them(list(range(40)))
        torch.testing.assert_close(draw_them([17]), together[17:18])
    times = {}
    for share in (0.0, 1.0):
        other = DiffusionTask(DiffusionSettings(**TINY, time_even=share))
        times[share] = other._times(list(range(400)))
    assert abs(float(times[0.0].logit().mean()) + 0.4) < 0.2
    assert abs(float(times[1.0].mean()) - 0.5) < 0.06
    assert float(times[1.0].min()) < 0.02
    none = len(task.network.classes)
    told = (task._labels(list(range(400))) != none).double().mean()
    assert abs(float(told) - 0.5) < 0.1


def test_labels_are_those_of_the_pictures():
    task = DiffusionTask(DiffusionSettings(**TINY, untold=0.0))
    stream, faces = task.own_pictures(), load_faces("train")
    assert task.network.classes == faces.names["hair_color"]
    index = [stream.index(n) for n in range(30)]
    assert (
        task._labels(list(range(30))).tolist()
        == faces.attributes["hair_color"][index].tolist()
    )


def features_of(**changes):
    """The feature term of one batch and the times of its pictures."""
    settings = DiffusionSettings(**TINY, feature_weight=1.0, **changes)
    task = DiffusionTask(settings)
    stream = task.own_pictures()
    images = torch.stack([stream[n][0] for n in range(4)])
    terms = task.loss(task.network, images, 0)
    return float(terms["feature"].detach()), task._times([0, 1, 2, 3])


def test_features_count_where_the_noise_is_low():
    everywhere, times = features_of(feature_from=0.0, feature_layers=("relu1_2",))
    latest = float(times.sort().values[2:].mean())  # between the two latest
    some, _ = features_of(feature_from=latest, feature_layers=("relu1_2",))
    none, _ = features_of(feature_from=0.9999, feature_layers=("relu1_2",))
    assert 0 == none < some < everywhere


def test_the_feature_term_is_relative_and_zero_for_the_picture_itself():
    task = DiffusionTask(
        DiffusionSettings(**TINY, feature_weight=1.0, precision="float32")
    )
    images = torch.rand(2, 3, 16, 16)
    assert float(task._unlike(centred(images), images).max()) < 1e-6
    value = task._unlike(centred(images.flip(-1)), images)
    layers = task.settings.feature_layers
    made, right = task.encoder(images.flip(-1), layers), task.encoder(images, layers)
    wanted = [
        (made[k] - right[k]).square().flatten(1).sum(1)
        / right[k].square().flatten(1).sum(1)
        for k in layers
    ]
    torch.testing.assert_close(value, sum(wanted) / 2, atol=1e-4, rtol=1e-3)


def test_the_self_perceptual_and_the_aligned_term_reach_the_network(file):
    settings = DiffusionSettings(
        **TINY, own=str(file), own_weight=1.0, align_weight=1.0, velocity_weight=0.0
    )
    task = DiffusionTask(settings)
    stream = task.own_pictures()
    images = torch.stack([stream[n][0] for n in range(4)])
    terms = task.loss(task.network, images, 0)
    assert list(terms) == ["align", "own"]
    for name in terms:
        gradient = torch.autograd.grad(
            terms[name], task.network.first.weight, retain_graph=True
        )[0]
        assert float(gradient.abs().sum()) > 0
    assert all(not p.requires_grad for p in task.own.parameters())


def test_a_student_learns_the_teacher_s_pictures_from_their_noise(file, network):
    settings = DiffusionSettings(
        **TINY,
        teacher=str(file),
        start=str(file),
        pairs=6,
        teacher_steps=3,
        times=(0.0,),
    )
    task = DiffusionTask(settings)
    stream = task.own_pictures()
    assert len(stream) == 6
    n = 9  # of the second epoch
    index = stream.index(n)
    label = task.labels[index : index + 1]
    noise = task._noise([index])
    with torch.no_grad():
        x = noise
        for k in range(3):
            x = x + velocity(network(x, k / 3, label), x, k / 3) / 3
    torch.testing.assert_close(stream[n][0][None], pictured(x), atol=1e-4, rtol=1e-3)
    terms = task.loss(task.network, stream[n][0][None], n)
    estimate = task.network(noise, 0.0, label)
    wanted = (estimate - centred(stream[n][0][None])).square().mean()
    torch.testing.assert_close(terms["velocity"], wanted)


def test_a_run_is_resumed_to_the_same_weights(tmp_path):
    changes = {**TINY, **QUICK, "condition": "none"}
    once = train(DiffusionTask(DiffusionSettings(**changes)), steps=4)
    first = DiffusionSettings(**changes, checkpoint_every=2)

    def stop(record):
        if record.step == 2:
            raise KeyboardInterrupt

    half = replace(first, steps=4)
    stopped = train(DiffusionTask(half), half, folder=tmp_path, callback=stop)
    assert stopped.stopped == "interrupted"
    again = train(DiffusionTask(half), half, folder=tmp_path)
    for one, other in zip(
        once.network.parameters(), again.network.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_it_learns_one_picture():
    """The estimate at noise alone becomes the only picture there is."""
    settings = DiffusionSettings(
        **TINY, steps=60, condition="none", learning_rate=1e-2, log_every=60,
        sample_every=0, precision="float32",
    )  # fmt: skip
    image = load_faces("train").pictures[:1]
    image = pltutorial.resize(image, (16, 16))
    task = DiffusionTask(settings)
    trained = train(task, pictures=PicturesInMemory(image, "one face")).network
    far = float((draw(trained, 4, steps=4) - image).square().mean())
    assert far < 0.25 * float((image - image.mean()).square().mean())


def test_pictures_of_ones_own_have_no_label(tmp_path):
    task = DiffusionTask(DiffusionSettings(**TINY, **QUICK))
    train(task, pictures=PicturesInMemory(torch.rand(5, 3, 16, 16), "noise"))
    assert task.labels is None
    assert task._labels([3]).tolist() == [len(task.network.classes)]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"velocity_weight": 0.0}, ["all weights are 0"]),
        ({"feature_weight": 1.0, "feature_layers": ()}, ["without a layer"]),
        ({"own_weight": 1.0}, ["own_weight", "as own"]),
        ({"times": (0.0, 1.0)}, ["times=(0.0, 1.0)", "below 1"]),
        ({"feature_from": 1.0}, ["feature_from=1.0", "below 1"]),
        ({"condition": "hair_colour"}, ["'hair_colour'", "hair_color"]),
        ({"feature_weight": 1.0, "feature_layers": ("relu9_9",)}, ["'relu9_9'"]),
    ],
)
def test_what_a_training_refuses(how, words):
    with refused(*words):
        DiffusionTask(DiffusionSettings(**{**TINY, **how}))


def test_another_architecture_is_refused(file):
    with refused("tiny.safetensors", "the same architecture"):
        DiffusionTask(DiffusionSettings(**{**TINY, "size": 24}, start=str(file)))


def test_numbers_have_paths_as_pictures_do():
    starts = torch.tensor([-1.0, 0.5, 2.0])
    *_, (time, ends) = path(lambda x, t: torch.ones_like(x), starts, 4)
    assert time == 1
    torch.testing.assert_close(ends, torch.ones(3))
    slope = velocity(torch.ones(3), starts, torch.tensor([0.0, 0.5, 0.75]))
    torch.testing.assert_close(slope, torch.tensor([2.0, 1.0, -4.0]))


# --- drawing ------------------------------------------------------------------------


def test_sample_draws_with_it(network):
    how = {"seed": 4, "steps": 2, "precision": "float32"}
    pictures = pltutorial.sample(3, network=network, **how)
    assert pictures.shape == (3, 3, 16, 16)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    noise = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        half = noise + velocity(network(noise, 0.0), noise, 0.0) / 2
        wanted = network(half, 0.5)
    torch.testing.assert_close(pictures, pictured(wanted), atol=1e-4, rtol=1e-3)


def test_guidance_goes_on_in_the_direction_of_the_condition(network):
    how = {"steps": 1, "seed": 1, "condition": "auburn", "precision": "float32"}
    one, two = (draw(network, 2, guidance=w, **how) for w in (1.0, 2.0))
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = network(noise, 0.0)
    wanted = pictured(plain + 2 * (centred(one) - plain))
    inside = (one > 0) & (one < 1)  # where nothing was cut
    torch.testing.assert_close(two[inside], wanted[inside], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"count": 0}, ["count=0"]),
        ({"seed": -1}, ["seed=-1"]),
        ({"condition": "green"}, ["hair_color", "'green'"]),
        ({"guidance": 2.0}, ["guidance=2", "without a condition"]),
        ({"steps": 0}, ["steps=0"]),
        ({"steps": 10**9}, ["steps=1000000000", "1 to 1,000"]),
        ({"count": 10**12}, ["pictures", "do not fit into the memory"]),
        ({"guidance": float("nan"), "condition": "auburn"}, ["guidance=nan"]),
        ({"solver": "rk4"}, ["'rk4'"]),
    ],
)
def test_what_drawing_refuses(how, words, network):
    with refused(*words):
        draw(network, **{"count": 1, **how})


def test_an_autoencoder_has_no_steps():
    vae = pltutorial.VAE(4, 4, size=32)
    with refused("steps", "an autoencoder"):
        pltutorial.sample(1, network=vae, steps=4)
    with refused("pictures", "do not fit into the memory"):
        pltutorial.sample(10**12, network=vae)
    with pytest.raises(InputError, match="a VAE was given"):
        draw(vae, 1)


def test_a_student_s_steps_are_those_that_it_learned(network):
    assert steps_of(network) == 25
    network.card = {"settings": {"times": [0.0, 0.5]}}
    assert steps_of(network) == 2


def test_the_command_draws(file, command, tmp_path):
    output = tmp_path / "faces.png"
    code, printed, errors = command(
        "sample", "--model", file, "--count", "2", "--steps", "2", "--condition",
        "auburn", "--guidance", "2", "-o", output, "--json",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    assert facts["count"] == 2
    assert output.is_file()


def test_unknown_networks_are_refused():
    with refused("'diffusion_pixels'", "diffusion"):
        zoo.load_diffusion("diffusion_pixels")


def test_a_stream_in_memory_visits_each_picture_once_an_epoch():
    stream = PicturesInMemory(torch.rand(7, 3, 8, 8), "noise", seed=3)
    for epoch in range(3):
        visited = [stream.index(n) for n in range(7 * epoch, 7 * epoch + 7)]
        assert sorted(visited) == list(range(7))
    assert [stream.index(n) for n in range(7)] != [
        stream.index(n) for n in range(7, 14)
    ]
    with pytest.raises(IndexError):
        stream[-1]
