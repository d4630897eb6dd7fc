"""The networks that ship as a service, without its HTTP: limits, what is refused, and
how pictures that are alike go through a network together.
"""

from __future__ import annotations

import functools
import io
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from ..bounds import check_bounds, setting
from ..errors import InputError
from ..files import check_side
from .offers import Asked, Offer, offers
from .options import Device, Precision
from .worker import Job, Worker

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..samples import Decoded

FORMATS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "jpg": ".jpg"}
BODY = "request body"
SMALL = 512 * 512  # pixels: larger pictures are decoded and computed one at a time
_NETWORKS = 16  # that are kept: a blend of losses is a network of its own


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Limits of ``serve --api``, and where it computes."""

    batch: int = setting(
        4,
        "With --api: pictures of one network and size, of at most 512x512 pixels, that "
        "are computed together.",
        least=1,
        most=256,
    )
    queue: int = setting(
        32,
        "With --api: pictures that are sent, wait or are computed at a time; one more "
        "is answered by 429.",
        least=1,
        most=10_000,
    )
    max_megabytes: float = setting(
        32.0, "With --api: refuse larger files.", above=0, most=4000
    )
    max_pixels: int = setting(
        16_000_000,
        "With --api: refuse pictures with more pixels than this, sent or to be made.",
        least=4,
    )
    timeout: float = setting(
        30.0,
        "With --api: seconds for a client to send its picture, and to take the answer.",
        above=0,
        most=86_400,
    )
    device: Device = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        check_bounds(self)

    @property
    def max_bytes(self) -> int:
        """Of one picture as it is sent."""
        return int(self.max_megabytes * 1_000_000)


class Refused(InputError):
    """An answer that is no picture: a status, one sentence, more headers."""

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, headers


class _Large(InputError):
    """A picture that is decoded later."""


@dataclass(frozen=True)
class Sent:
    """A picture as it came, and what is asked for."""

    asked: Asked
    data: bytes
    ending: str
    decoded: Decoded | None


@dataclass(frozen=True)
class Made:
    """A picture that was made, and how it came about."""

    write: Callable[[BinaryIO], None]
    network: str
    batch: int
    waited: float
    worked: float

    def encoded(self) -> bytes:
        """Its file."""
        data = io.BytesIO()
        self.write(data)
        return data.getvalue()


@dataclass
class Service:
    """What is there once: the worker, the networks it has loaded, what was counted.

    Args:
        settings: the limits.
        offered: what there is; the tasks of the register if left out.

    Raises:
        InputError: a device or a precision that there is not here.
    """

    settings: ServiceSettings
    offered: Mapping[str, Offer] = field(default_factory=offers)

    def __post_init__(self) -> None:
        from .job import place_of

        place, self.facts = place_of(self.settings.device, self.settings.precision)
        self.worker = Worker(self._work, self.settings.queue, self.settings.batch)
        self.counted: Counter[str] = Counter()
        self.since, self._counting = time.monotonic(), threading.Lock()
        self._load = functools.lru_cache(_NETWORKS)(
            lambda asked: self.offered[asked.name].network(asked, place)
        )

    def make(self, asked: Asked, data: bytes, ending: str) -> Made:
        """The picture of a picture; whoever calls has a place of the worker, and waits.

        Raises:
            Refused: it is none, or none can be made of it.
        """
        decoded, alike = self._looked_at(data), None
        if decoded is not None and self.offered[asked.name].read is None:
            colors = decoded.colors
            shape = getattr(colors, "shape", None)
            alike = asked, colors.size if shape is None else (shape[1], shape[0])
        job = Job(Sent(asked, data, ending, decoded), alike)
        try:
            return self.worker.put(job).result()
        except InputError:
            raise
        except Exception as problem:  # of a network, or of ours: the service goes on
            print(f"a picture failed: {problem!r}", file=sys.stderr)
            raise Refused(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "the picture could not be made; the terminal of the service says why",
            ) from None

    def count(self, what: str) -> None:
        """One more that was served, refused or gone."""
        with self._counting:
            self.counted[what] += 1

    def health(self) -> dict:
        """What ``GET /health`` says: ``queue``, the places that are taken; ``waiting``,
        the pictures among them that nobody works at; ``gone``, clients that did not
        wait for their answer.
        """
        worker = self.worker
        return {
            "ready": worker.alive and not worker.closing,
            "stopping": worker.closing,
            "queue": worker.taken,
            "waiting": worker.waiting,
            **{what: self.counted[what] for what in ("served", "refused", "gone")},
            "batches": worker.batches,
            "uptime": round(time.monotonic() - self.since, 1),
        }

    def _looked_at(self, data: bytes) -> Decoded | None:
        """A small picture decoded, None for a larger one, after a look at its head."""
        from ..images import open_picture

        most = self.settings.max_pixels

        def before(picture) -> None:
            width, height = picture.size
            if width * height > most:
                raise Refused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the picture has {width}x{height} pixels and the limit is {most:,}"
                    "; shrink it",
                )
            if width * height > SMALL:
                raise _Large

        try:
            return open_picture(io.BytesIO(data), BODY, sys.maxsize, before)
        except _Large:
            return None
        except Refused:
            raise
        except InputError as problem:
            raise _no_picture(problem) from None

    # --- in the worker's thread -------------------------------------------------------

    def _work(self, jobs: list[Job]) -> list[Made | Exception]:
        """What is made of jobs that are alike, by one pass of the network."""
        from ..images import writer

        begun, asked = time.perf_counter(), jobs[0].what.asked
        try:
            network = self._load(asked)
        except InputError as problem:
            raise Refused(HTTPStatus.BAD_REQUEST, str(problem)) from None
        answers: list = [self._read(network, job.what) for job in jobs]
        good = [n for n, found in enumerate(answers) if isinstance(found, tuple)]
        if not good:
            return answers
        images = [answers[number][0] for number in good]
        options = answers[good[0]][1]  # the same for pictures that are alike
        run = self._run(self.offered[asked.name], network, images, options)
        for number, made in zip(good, run, strict=True):
            if isinstance(made, Exception):
                answers[number] = made
                continue
            answers[number] = Made(
                writer(made, jobs[number].what.ending),
                getattr(network, "name", "") or _blend(asked),
                len(good),
                begun - jobs[number].since,
                time.perf_counter() - begun,
            )
        return answers

    def _read(self, network: nn.Module, sent: Sent) -> tuple | Refused:
        """The image and its options, or why there is none."""
        from ..images import open_picture, to_image

        offer, options = self.offered[sent.asked.name], sent.asked.given
        most, picture = self.settings.max_pixels, sent.decoded
        try:
            picture = picture or open_picture(io.BytesIO(sent.data), BODY, most)
        except InputError as problem:
            return _no_picture(problem)
        try:
            image = to_image(picture, BODY)
            if offer.read is not None:
                options = offer.read(picture, BODY, most, options)
            width, height = offer.size(network, image, **options)
        except InputError as problem:
            return Refused(HTTPStatus.BAD_REQUEST, str(problem))
        try:
            check_side(width, height, sent.ending)
        except InputError as problem:
            return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(problem))
        if width * height > most:
            return Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the answer would have {width}x{height} pixels and the limit is "
                f"{most:,}; send a smaller picture",
            )
        return image, options

    def _run(
        self,
        offer: Offer,
        network: nn.Module,
        images: list[torch.Tensor],
        options: dict,
    ) -> list[torch.Tensor | Exception]:
        """What is made of each image; each by itself where all of them cannot go
        through together.
        """
        import torch

        from ..device import is_out_of_memory

        try:
            together = torch.cat(images)
            precision = self.settings.precision
            made = offer.run(network, together, precision=precision, **options)
            return list(made.split(1))
        except Exception as problem:
            if len(images) > 1:
                alone = [self._run(offer, network, [one], options) for one in images]
                return [made for (made,) in alone]
            if isinstance(problem, InputError):
                return [Refused(HTTPStatus.BAD_REQUEST, str(problem))]
            if is_out_of_memory(problem):
                sentence = (
                    "the memory that is free is not enough; send a smaller picture"
                )
                return [Refused(HTTPStatus.SERVICE_UNAVAILABLE, sentence)]
            return [problem]


def _no_picture(problem: InputError) -> Refused:
    """What is said of a body that cannot be read as a picture."""
    return Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(problem))


def _blend(asked: Asked) -> str:
    """What a network is called that is no file's."""
    return f"{asked.name}, loss {asked.loss}"
