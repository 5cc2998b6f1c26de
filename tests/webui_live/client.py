"""A running WebUI over HTTP."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from PIL import Image

STEPS = 3


class RefusedError(Exception):
    """The WebUI answered with an error; ``str()`` is what it said."""


@dataclass(frozen=True)
class Made:
    """The pictures of a job, as their pixels' values, and their texts."""

    pictures: tuple[bytes, ...]
    infotexts: tuple[str, ...]


class WebUI:
    """One server."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer to a request. Raises RefusedError."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=1800) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RefusedError(error.read().decode()) from None

    def get(self, path: str) -> Any:
        """The answer to a question."""
        with urllib.request.urlopen(self.url + path, timeout=600) as answer:
            return json.load(answer)

    @cached_property
    def forge(self) -> bool:
        """Whether its API is one of Forge's."""
        return "hr_cfg" in json.dumps(self.get("/openapi.json"))

    @cached_property
    def upscaler(self) -> str:
        """What hires fix enlarges with: a way that keeps to the latent, or else plain resizing of the picture."""
        modes: list[str] = [each["name"] for each in self.get("/sdapi/v1/latent-upscale-modes")]
        return modes[0] if modes else "None"

    def make(self, args: list[Any] | None = None, kind: str = "txt2img", **asked: Any) -> Made:
        """The pictures of a job; ``args`` are those of EBCA."""
        body: dict[str, Any] = {"steps": STEPS, "width": 64, "height": 64, "seed": 7, "sampler_name": "Euler", **asked}
        if asked.get("enable_hr"):
            body.setdefault("hr_upscaler", self.upscaler)
            if self.forge:
                # Forge's API answers with an error where its own additions are left out.
                body = {"hr_additional_modules": [], "hr_cfg": body.get("cfg_scale", 7), **body}
        if args is not None:
            body["alwayson_scripts"] = {**body.get("alwayson_scripts", {}), "EBCA": {"args": args}}
        answer = self.post(f"/sdapi/v1/{kind}", body)
        pictures = tuple(_pixels(picture) for picture in answer["images"])
        return Made(pictures, tuple(json.loads(answer["info"])["infotexts"]))

    @cached_property
    def left_out(self) -> set[str]:
        """The settings that its API leaves out, as Forge's does with those of extensions."""
        return set(self.get("/internal/sysinfo")["Config"]) - set(self.get("/sdapi/v1/options"))

    def options(self, *names: str) -> dict[str, Any]:
        """Its settings; among them those of the names that it has at all."""
        present: dict[str, Any] = self.get("/sdapi/v1/options")
        missing = set(names) - set(present)
        if missing and missing & self.left_out:
            present = {**self.get("/internal/sysinfo")["Config"], **present}
        return present

    def has_settings(self, **values: Any) -> dict[str, Any]:
        """Those of the values whose settings the WebUI has."""
        present = self.options(*values)
        return {name: value for name, value in values.items() if name in present}

    @contextmanager
    def settings(self, **values: Any) -> Iterator[None]:
        """The WebUI with other settings for the length of the block; the test is skipped where there are none such."""
        present = self.options(*values)
        missing = sorted(set(values) - set(present))
        if missing:
            pytest.skip(f"the WebUI has no settings {missing}")
        before = {name: present[name] for name in values}
        self.post("/sdapi/v1/options", values)
        try:
            yield
        finally:
            self.post("/sdapi/v1/options", before)

    @contextmanager
    def model(self, name: str) -> Iterator[None]:
        """The WebUI with another checkpoint for the length of the block; the one before comes back.

        The test is skipped where there is no such checkpoint.
        """
        found = [each["title"] for each in self.get("/sdapi/v1/sd-models") if each["title"].startswith(f"{name}.")]
        if not found:
            pytest.skip(f"the WebUI has no checkpoint {name}")
        with self.settings(sd_model_checkpoint=found[0]):
            # A WebUI that cannot load a checkpoint goes on with the one before, and answers as if all were well.
            (told,) = self.make(prompt="", steps=1).infotexts
            assert f"Model: {name}," in told, f"the WebUI did not load {name}: {told}"
            yield

    @contextmanager
    def interrupted(self, step: int, button: str = "interrupt") -> Iterator[None]:
        """The job that runs in the block is interrupted when it has come to a step, however long that takes."""
        over = threading.Event()

        def press() -> None:
            while not over.is_set():
                state = self.get("/sdapi/v1/progress?skip_current_image=true")["state"]
                if state["job_count"] and state["sampling_step"] >= step:
                    self.post(f"/sdapi/v1/{button}", {})
                    return
                time.sleep(0.02)

        presser = threading.Thread(target=press)
        presser.start()
        try:
            yield
        finally:
            over.set()
            presser.join()


def alike(one: Made, other: Made, pixels_off: float = 0.01) -> bool:
    """Whether the pictures are the same but for the rounding of a WebUI that is asked twice.

    A WebUI without any extension gives the same picture back with a handful of values one level off, depending on what
    it made before.
    """
    return len(one.pictures) == len(other.pictures) and all(
        _alike(a, b, pixels_off) for a, b in zip(one.pictures, other.pictures, strict=True)
    )


def _alike(one: bytes, other: bytes, pixels_off: float) -> bool:
    if len(one) != len(other):
        return False
    differences = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return max(differences) <= 1 and sum(differences) <= pixels_off * len(one)


def _pixels(picture: str) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").tobytes()


def encoded(color: tuple[int, int, int], size: int = 64, left: bool = False) -> str:
    """A picture of one colour as the API takes it; with ``left`` its right half is black."""
    written = io.BytesIO()
    picture = Image.new("RGB", (size, size), color)
    if left:
        picture.paste((0, 0, 0), (size // 2, 0, size, size))
    picture.save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()
