"""The formats that a backbone's checkpoint comes in: what each says of the network, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_editeval.errors import CheckpointError
from pytest_editeval.vision.checkpoint_config import (
    BackboneInfo,
    checked_geometry,
    read_backbone,
    read_config,
    read_normalisation,
    read_processor,
)
from pytest_editeval.vision.checkpoints import checkpoint_folder, is_local, local_path
from pytest_editeval.vision.dinov3_files import (
    INPUT_SIZE,
    NORMALISATION,
    DINOv3File,
    Domain,
    checked_domain,
    read_dinov3_file,
    refuse_other_domain,
)
from pytest_editeval.vision.families import FAMILIES, TIMM
from pytest_editeval.vision.placement import Placement
from pytest_editeval.vision.timm_files import Preparation, TimmNetwork, holds_timm, read_timm, read_timm_file

if TYPE_CHECKING:
    from torch import nn

Channels = Sequence[float] | None


class Format(Protocol):
    """A checkpoint, known from its files; `network` and `processor` load it. `name` is its family's, for a report."""

    @property
    def info(self) -> BackboneInfo:
        """Family, geometry and tokens."""

    @property
    def name(self) -> str:
        """The family for a report."""

    @property
    def normalisation(self) -> tuple[Channels, Channels]:
        """Mean and standard deviation of each channel, if the files say."""

    @property
    def resampling(self) -> str | None:
        """Filter of the resize, if the files say."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What beside the files and the geometry changes the features."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those that only this format needs."""

    def network(self, placement: Placement) -> nn.Module:
        """The network; shared by all who ask for the same."""

    def processor(self) -> Any:
        """What makes normalised pixels of images."""


@dataclass(frozen=True)
class TransformersFormat:
    """A directory or hub id in transformers' format."""

    info: BackboneInfo
    settings: Mapping[str, Any]
    libraries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its `model_type`."""
        return self.info.model_type

    @property
    def normalisation(self) -> tuple[Channels, Channels]:
        """As the image processor's file says."""
        return read_normalisation(self.info.model_path)

    @property
    def resampling(self) -> str | None:
        """As the image processor's file says, by the number that Pillow has for it."""
        from PIL import Image

        number = read_processor(self.info.model_path).get("resample")
        return next((known.name.lower() for known in Image.Resampling if known == number), None)

    def network(self, placement: Placement) -> nn.Module:
        """By `from_pretrained`."""
        from pytest_editeval.vision.networks import load_network

        return load_network(FAMILIES[self.info.model_type].model_class, self.info.model_path, placement)

    def processor(self) -> Any:
        """The checkpoint's own."""
        from pytest_editeval.vision.networks import load_processor

        return load_processor(self.info)


@dataclass(frozen=True)
class OriginalFormat:
    """An original DINOv3 file."""

    info: BackboneInfo
    file: DINOv3File
    domain: Domain
    libraries: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The `model_type` of its network."""
        return self.info.model_type

    @property
    def normalisation(self) -> tuple[Channels, Channels]:
        """That of its kind of images."""
        return NORMALISATION[self.domain]

    @property
    def resampling(self) -> str:
        """DINOv3's."""
        return "bilinear"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The kind of images."""
        return {"domain": self.domain}

    def network(self, placement: Placement) -> nn.Module:
        """Transformers' network with the file's weights."""
        from pytest_editeval.vision.networks import load_file

        return load_file(self.file, self.info.model_path, placement)

    def processor(self) -> Any:
        """The one that transformers has for DINOv3."""
        from pytest_editeval.vision.networks import file_processor

        return file_processor(self.domain)


@dataclass(frozen=True)
class TimmFormat:
    """A checkpoint of timm's, or a bare file with the weights of one of its networks."""

    info: BackboneInfo
    known: TimmNetwork
    preparation: Preparation
    settings: Mapping[str, Any]
    libraries: tuple[str, ...] = (TIMM,)

    @property
    def name(self) -> str:
        """timm's name of the network."""
        return f"{TIMM}:{self.known.architecture}"

    @property
    def normalisation(self) -> tuple[Channels, Channels]:
        """As its files, or the setting `domain`, say."""
        return self.preparation.mean, self.preparation.std

    @property
    def resampling(self) -> str:
        """As its files say, else timm's usual one."""
        return self.preparation.interpolation

    def network(self, placement: Placement) -> nn.Module:
        """timm's network."""
        from pytest_editeval.vision.networks import load_timm_network

        return load_timm_network(self.info.model_path, self.known, placement)

    def processor(self) -> Any:
        """What does as timm's transform for inference."""
        from pytest_editeval.vision.networks import timm_processor

        return timm_processor(self.preparation)


def transformers_format(model_path: str) -> TransformersFormat:
    """Of a directory or hub id; `CheckpointError` when its files contradict each other, or are of timm's format."""
    if read_config(model_path)["model_type"] == TIMM:
        raise CheckpointError(f"{model_path} is a checkpoint of timm's format, which only the DINOv3 pipe takes")
    return TransformersFormat(read_backbone(model_path), {})


def dino_format(model_path: str, domain: Domain | None, architecture: str | None) -> Format:
    """Of any checkpoint that `DINOv3Mixin` takes; `CheckpointError` for settings that it does not need or lacks."""
    path = local_path(model_path) if is_local(model_path) else None
    if path is not None and path.is_file():
        bare = architecture is not None or holds_timm(path)
        known = checked_domain(path, domain)
        return _bare(model_path, architecture, known) if bare else _original(model_path, known)
    if architecture is not None:
        raise CheckpointError(
            f"{model_path}: architecture is for a bare file of weights; a directory's config.json says what it holds"
        )
    config = read_config(model_path)
    if config["model_type"] != TIMM:
        if domain is not None:
            refuse_other_domain(model_path, domain, read_processor(model_path))
        return transformers_format(model_path)
    network, preparation = read_timm(model_path, checkpoint_folder(model_path), config)
    if domain is not None:
        given = {"image_mean": list(preparation.mean), "image_std": list(preparation.std)}
        refuse_other_domain(model_path, domain, given, "config.json")
    return TimmFormat(_timm_info(model_path, network, preparation), network, preparation, {})


def _original(model_path: str, domain: Domain) -> OriginalFormat:
    file = read_dinov3_file(local_path(model_path))
    geometry = checked_geometry(model_path, INPUT_SIZE, file.patch_size, None)
    info = BackboneInfo(model_path, file.model_type, geometry, file.num_register_tokens, INPUT_SIZE)
    return OriginalFormat(info, file, domain)


def _bare(model_path: str, architecture: str | None, domain: Domain) -> TimmFormat:
    network, preparation = read_timm_file(local_path(model_path), architecture, domain)
    settings = {"domain": domain, "architecture": architecture}
    return TimmFormat(_timm_info(model_path, network, preparation), network, preparation, settings)


def _timm_info(model_path: str, network: TimmNetwork, preparation: Preparation) -> BackboneInfo:
    geometry = preparation.geometry
    return BackboneInfo(model_path, TIMM, geometry, network.num_register_tokens, geometry.input_size)
