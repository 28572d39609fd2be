"""Image names and what runs in their place: nothing is pulled, and only the names below have anything to run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import inference_fleet
from inference_fleet.sandbox.real_engine import ENVIRONMENT, RealEngine

# What a default engine image is called with any registry's host before it; the tag names vLLM's version.
_ENGINE_REPOSITORIES = ("vllm/vllm-openai", "vllm/vllm-openai-rocm", "vllm/vllm-openai-cpu", "vllm/vllm-tpu")
_OPERATOR_REPOSITORY = "inference-fleet/operator"
# A model's files and nothing to run, to be mounted as an image volume.
_MODEL_REPOSITORY = "inference-fleet/tiny-model"
# What else says which files are the model's.
_MODEL_OPTIONS = ("--model", "--revision", "--tokenizer", "--tokenizer-revision", "--code-revision", "--hf-config-path")
# As the Dockerfile says.
_OPERATOR_USER = 65532
_PACKAGES = Path(inference_fleet.__file__).parents[1]
_ENGINE_TAG = re.compile(r"^v?(\d+\.\d+\.\d+)(?:[.-][A-Za-z0-9_.-]+)?$")
_ENGINE_PROGRAMS = ("vllm", "python", "python3")
_OPERATOR_PROGRAMS = ("inference-fleet",)


class EngineKind(StrEnum):
    """What an engine image runs."""

    EMULATED = "emulated"
    VLLM = "vllm"


@dataclass(frozen=True)
class NotRunnable:
    """Why an image or a command has nothing to run here."""

    message: str


@dataclass(frozen=True)
class Program:
    """What to start: the command line and the environment variables that the image itself would set."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageCatalog:
    """The images of one sandbox.

    Attributes
    ----------
    engine
        What the engine images run.
    real_engine
        The installed vLLM; only needed for EngineKind.VLLM.
    model
        The folder that a model's image holds; None where there is no such image.
    python
        The interpreter that has inference_fleet.
    """

    engine: EngineKind
    real_engine: RealEngine | None = None
    model: Path | None = None
    python: str = sys.executable

    def find(self, image: str) -> str | NotRunnable:
        """The image's reference if there is such an image, as a pull would say."""
        if _is_operator(image) or _engine_version(image) is not None or self._is_model(image):
            return image
        return NotRunnable(
            f"{image}: the sandbox pulls nothing; it knows the operator's image, vLLM's with a version as tag, and "
            f"{_MODEL_REPOSITORY} as a volume"
        )

    def volume(self, image: str, *, path: str = "") -> Path | NotRunnable:
        """The folder, or what lies at the relative `path` in it, that an image volume shows."""
        if self.model is None or not self._is_model(image):
            return NotRunnable(f"{image} holds nothing to mount")
        found = self.model / path
        inside = found.resolve().is_relative_to(self.model.resolve())
        return found if inside and found.exists() else NotRunnable(f"{image} has no {path}")

    def user(self, image: str) -> int:
        """Whom the image itself runs as; the kubelet holds back a pod that may not be root of an image that is."""
        return _OPERATOR_USER if _is_operator(image) else 0

    def folders(self) -> tuple[str, ...]:
        """Where the programs and what they need lie on this machine."""
        needed = [Path(self.python).parents[1], Path(os.path.realpath(self.python)).parents[1], _PACKAGES]
        if self.real_engine:
            interpreter = self.real_engine.python
            needed += [interpreter.parents[1], Path(os.path.realpath(interpreter)).parents[1], self.real_engine.model]
        return tuple(dict.fromkeys(str(folder) for folder in needed))

    def program(self, image: str, *, command: Sequence[str], args: Sequence[str]) -> Program | NotRunnable:
        """What a container of that image runs for the pod's `command` and `args`."""
        found = self.find(image)
        if isinstance(found, NotRunnable):
            return found
        if _is_operator(image):
            return self._operator(command, args=args)
        if self._is_model(image):
            return NotRunnable(f"{image} is a model: it has nothing to run")
        return self._engine(_engine_version(image) or "", command=command, args=args)

    def _is_model(self, image: str) -> bool:
        return self.model is not None and _names(image, _MODEL_REPOSITORY)

    def _operator(self, command: Sequence[str], *, args: Sequence[str]) -> Program | NotRunnable:
        if command and os.path.basename(command[0]) not in _OPERATOR_PROGRAMS:
            return _refused(command[0], allowed=_OPERATOR_PROGRAMS)
        words = (*command[1:], *args) or ("run",)
        return Program((self.python, "-m", "inference_fleet", *words))

    def _engine(self, version: str, *, command: Sequence[str], args: Sequence[str]) -> Program | NotRunnable:
        if command and os.path.basename(command[0]) not in _ENGINE_PROGRAMS:
            return _refused(command[0], allowed=_ENGINE_PROGRAMS)
        # The image's own entry point is `vllm serve`.
        words = (*(command or ("vllm", "serve")), *args)
        match self.engine:
            case EngineKind.EMULATED:
                argv = (self.python, "-m", "inference_fleet.emulator", *words)
                return Program(argv, {"INFERENCE_FLEET_EMULATOR_VERSION": version})
            case EngineKind.VLLM:
                if self.real_engine is None:
                    return NotRunnable("vLLM is not set up on this machine (make setup-engine)")
                arguments = _with_model(_serve_arguments(words), model=str(self.real_engine.model))
                return Program(self.real_engine.command(arguments), ENVIRONMENT)


def _serve_arguments(words: Sequence[str]) -> tuple[str, ...]:
    """What comes after `serve`, or after the module's name where Python is called."""
    for marker in ("serve", "-m"):
        if marker in words:
            rest = tuple(words[words.index(marker) + 1 :])
            return rest[1:] if marker == "-m" else rest
    return tuple(words)


def _with_model(arguments: Sequence[str], *, model: str) -> tuple[str, ...]:
    """The arguments with the one model this machine has in the place of the hub's that they name, under its name.

    A folder, of a volume for example, and an address of object storage stay: the engine reads them itself.
    """
    words, rest = list(arguments), []
    named = words.pop(0) if words and not words[0].startswith("-") else ""
    while words:
        option, equals, value = words.pop(0).partition("=")
        if option not in _MODEL_OPTIONS:
            rest.append(f"{option}{equals}{value}")
            continue
        if not equals and words:
            value = words.pop(0)
        named = value if option == "--model" else named
    if named.startswith("/") or "://" in named:
        return tuple(arguments)
    if named and not any(word.startswith("--served-model-name") for word in rest):
        rest += ["--served-model-name", named]
    return ("--model", model, *rest)


def _refused(program: str, *, allowed: Sequence[str]) -> NotRunnable:
    return NotRunnable(f"{program}: only {', '.join(allowed)} can run in a container of this image here")


def _is_operator(image: str) -> bool:
    return _names(image, _OPERATOR_REPOSITORY)


def _engine_version(image: str) -> str | None:
    if not any(_names(image, known) for known in _ENGINE_REPOSITORIES):
        return None
    matched = _ENGINE_TAG.match(_tag(image))
    return matched.group(1) if matched else None


def _names(image: str, known: str) -> bool:
    """Whether the image is of that repository, at whatever registry."""
    repository = _repository(image)
    return repository == known or repository.endswith(f"/{known}")


def _repository(image: str) -> str:
    """`ghcr.io:443/a/b:v1@sha256:...` -> `ghcr.io:443/a/b`."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2] or "latest"
