"""The network that reads the attributes of a face: forms, errors, what its card says,
and that it is right about faces that it has not seen.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from helpers import refused

from pltutorial import load_network
from pltutorial.faces import ATTRIBUTES, load_faces
from pltutorial.networks.attributes import FILE, AttributeNet, face_attributes

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "book"))
book = importlib.import_module("face_attributes")
sys.path.pop(0)


@pytest.fixture(scope="module")
def test_faces():
    return load_faces("test")


def test_probabilities_of_every_value_by_attribute():
    torch.manual_seed(0)
    network = AttributeNet().eval()
    pictures = torch.rand(book.BATCH + 203, 3, 48, 48)  # more than are seen at once
    found = face_attributes(pictures, network=network)
    assert list(found) == list(ATTRIBUTES)
    for name, values in ATTRIBUTES.items():
        assert found[name].shape == (len(pictures), len(values))
        assert found[name].dtype == torch.float32
        assert torch.allclose(found[name].sum(1), torch.ones(len(pictures)))
        logits = network(pictures[200:])[name]
        assert torch.allclose(found[name][200:], logits.softmax(1), atol=1e-5)


def test_what_cannot_be_read_is_one_sentence():
    with refused("(2, 3, 32, 48)", "48"):
        face_attributes(torch.rand(2, 3, 32, 48), network=AttributeNet())
    with refused("the faces"):
        face_attributes(torch.full((1, 3, 48, 48), 255.0), network=AttributeNet())


def test_it_ships_small_and_with_a_card():
    network = load_network(FILE, "cpu")
    assert FILE.stat().st_size < 300_000
    assert isinstance(network, AttributeNet)
    assert network.card["licence"] == "the weights: MIT"
    assert "Johan Melin" in network.card["data"]
    assert network.card["held_out"]["faces"] == 600


def test_the_card_says_how_often_it_is_right(test_faces):
    """On faces never seen, as they are and blurred; and how far that is from
    guessing the most frequent value.
    """
    network = load_network(FILE, "cpu")
    said = network.card["held_out"]["share read rightly"]
    for kind, faces in (
        ("as they are", test_faces),
        (
            "blurred by 3 x 3",
            test_faces._replace(pictures=book.blurred(test_faces.pictures)),
        ),
    ):
        for name, share in book.accuracy(network, faces).items():
            assert abs(share - said[kind][name]) < 0.01, (kind, name)
            guess = test_faces.attributes[name].bincount().max() / 600
            assert share > guess + 0.2, (kind, name)


def test_blurring_is_the_mean_of_nine():
    picture = torch.rand(1, 3, 48, 48)
    wanted = picture[0, 1, 9:12, 19:22].mean()
    assert torch.allclose(book.blurred(picture)[0, 1, 10, 20], wanted)
    assert book.blurred(picture).shape == picture.shape


def test_training_learns_and_repeats(test_faces):
    few = test_faces._replace(
        pictures=test_faces.pictures[:100],
        attributes={k: v[:100] for k, v in test_faces.attributes.items()},
    )
    one, two = (book.fit(few, 15, seed=1, tell=False) for _ in range(2))
    first = book.fit(few, 0, seed=1, tell=False)
    for name, right in few.attributes.items():
        found = one(few.pictures)[name]
        assert torch.allclose(found, two(few.pictures)[name], atol=1e-4)
        loss, before = (
            torch.nn.functional.cross_entropy(net(few.pictures)[name], right)
            for net in (one, first)
        )
        assert loss < before
