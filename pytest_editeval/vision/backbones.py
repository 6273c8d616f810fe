"""CLIP and DINOv3: a batch of images -> features (rows of the last hidden state, as the model returns it).

What a backbone is (geometry, tokens, fingerprint) is known from its checkpoint's files; torch is imported with the
network, when a first image is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from pytest_editeval.boxes import Size
from pytest_editeval.device import check_memory, resolve_device
from pytest_editeval.digests import digest_of, version_of
from pytest_editeval.errors import CheckpointError, MetricError
from pytest_editeval.faults import first_line
from pytest_editeval.regions import Geometry, PatchGrid
from pytest_editeval.tiling import TiledGeometry
from pytest_editeval.vision.batches import BatchSize, default_size
from pytest_editeval.vision.checkpoint_config import BackboneInfo, checked_geometry
from pytest_editeval.vision.checkpoints import DigestRecords, file_digests, provenance
from pytest_editeval.vision.dinov3_files import NORMALISATION, Domain
from pytest_editeval.vision.families import CLIP_FAMILIES, DINO_FAMILIES, REFUSED, Family
from pytest_editeval.vision.features import Features
from pytest_editeval.vision.formats import Format, dino_format, transformers_format
from pytest_editeval.vision.images import ImageLike, rgb_pixels
from pytest_editeval.vision.placement import Placement
from pytest_editeval.vision.windows import encode_tiled, tiled_geometry

if TYPE_CHECKING:
    import torch
    from torch import nn

    PatchMask = NDArray[np.bool_] | torch.Tensor | None


class Backbone:
    """A network that gives features of patches, and one of the whole image.

    `model_path` is a directory in transformers' format or an id on the Hugging Face hub. `fit` is ``"crop"`` (the
    checkpoint's own geometry) or ``"squash"`` (the whole image, no crop). The constructor reads the checkpoint's
    configuration files (`CheckpointError`); weights are loaded when the first image is encoded, `batch_size` images go
    through the network at once. `settings` make an equal backbone in another process. `families` are the kinds of
    checkpoints that it takes; `records` remember the digests of large files.

    With `tile`, a mapping of `size` and `overlap` in pixels, a whole image is looked at in windows, in its own pixels
    (`tiled_geometry`); crops of objects are not.

    `domain` (DINOv3: ``"web"`` or ``"satellite"``) says which images the weights are for where a file does not; where a
    checkpoint says, it has to be the same. `architecture` is timm's name of the network that a bare file of weights is
    for.
    """

    family: ClassVar[str]
    default_path: ClassVar[str | None] = None
    families: ClassVar[Mapping[str, Family]]

    records: DigestRecords | None = None
    tiles: TiledGeometry | None = None

    def __init__(
        self,
        *,
        model_path: str | None = None,
        device: str | None = None,
        fit: str = "crop",
        input_size: int | None = None,
        dtype: str = "float32",
        batch_size: int | None = None,
        domain: Domain | None = None,
        architecture: str | None = None,
        quantize: str | None = None,
        compile: bool | None = None,
        device_map: str | None = None,
        max_memory: Mapping[int | str, str] | Sequence[tuple[str, str]] | None = None,
        tile: Mapping[str, int] | None = None,
    ) -> None:
        model_path = model_path or self.default_path
        if model_path is None:
            raise CheckpointError(f"{type(self).__name__} needs a model_path: a directory or a hub id")
        if fit not in ("crop", "squash"):
            raise CheckpointError(f"unknown fit {fit!r}; allowed: crop, squash")
        self.model_path = str(model_path)
        self.device = resolve_device(device)
        self.dtype = dtype
        memory = check_memory(max_memory)
        self.placement = Placement(self.device, dtype, quantize, bool(compile), device_map, memory)
        self.settings: dict[str, Any] = {
            "model_path": self.model_path,
            "device": self.device,
            "dtype": dtype,
            "batch_size": batch_size,
        }
        self.settings |= {"fit": fit, "input_size": input_size, "domain": domain, "architecture": architecture}
        self.settings |= {"quantize": quantize, "compile": compile, "device_map": device_map, "max_memory": memory}
        self.settings |= {"tile": dict(tile) if isinstance(tile, Mapping) else tile}
        self.batch = BatchSize(batch_size or default_size(self.device), self.model_path)
        self.format = self._format(domain, architecture)
        self.info = self.format.info
        self.kind = self._family(self.info)
        trained = self.info.trained_size
        if not self.kind.resizable and trained is not None and trained != self.info.geometry.input_size:
            raise CheckpointError(
                f"{self.model_path}: its image processor gives {self.info.geometry.input_size} px, its config.json "
                f"says {trained} px"
            )
        geometry = self._at_size(input_size) if input_size is not None else self.info.geometry
        self.geometry = geometry.squashed() if fit == "squash" else geometry
        if tile is not None:
            if fit == "squash":
                raise CheckpointError("fit: squash and tile contradict each other; leave out one of the two")
            resizes = self.kind.resizable and input_size is None
            self.tiles = tiled_geometry(self.model_path, tile, self.geometry, resizes=resizes)

    @property
    def image_geometry(self) -> PatchGrid:
        """The way of a whole image, and the grid of its patches; `geometry` is that of what fills the input."""
        return self.tiles or self.geometry

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels of the input."""
        return self.geometry.patch_size

    @cached_property
    def key(self) -> str:
        """Equal for backbones that give equal features, by whatever name they know their checkpoint."""
        return digest_of(
            {"fingerprint": self.fingerprint, "class": repr(type(self)), "types": sorted(self.families)}
            | {"device": self.device}
        )

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the checkpoint's files and of the settings that change the features; not of the device."""
        files = file_digests(self.model_path, self.records)
        known = {"files": files, "geometry": self.geometry, "dtype": self.dtype}
        known |= {"tiles": self.tiles} if self.tiles else {}
        return digest_of({**known, **self.format.settings, **self.placement.differences})[:16]

    @cached_property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that only some checkpoints and settings need, and this one does."""
        return {name: version_of(name) for name in (*self.format.libraries, *self.placement.libraries)}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What a results file says of it: path, family, commit, digest of the files, dtype, input, normalisation."""
        mean, std = self.format.normalisation
        return {
            **provenance(self.model_path, self.records),
            "family": self.format.name,
            "dtype": self.dtype,
            "quantize": self.placement.quantize,
            "compile": self.placement.compile,
            "input_size": self.geometry.input_size,
            "patch_size": self.geometry.patch_size,
            "shortest_edge": self.geometry.shortest_edge,
            "resample": self.format.resampling,
            "registers": self.info.num_register_tokens,
            "mean": mean and list(mean),
            "std": std and list(std),
            "tile_size": None,
            **(self.tiles.as_data() if self.tiles else {}),
        }

    @cached_property
    def model(self) -> nn.Module:
        """The network; loaded on first use, and shared by all backbones of the process with these settings."""
        return self.format.network(self.placement)

    @cached_property
    def processor(self) -> Any:
        """The checkpoint's own image processor, or what does the same as it."""
        return self.format.processor()

    def encode(self, images: Sequence[ImageLike]) -> list[Features]:
        """Features of each image, batched; float32 whatever the model's dtype. `MetricError` for NaN or infinity."""
        if self.tiles is None:
            return self.batch.run(images, self._encode_batch)
        forward = partial(self._encode_batch, geometry=self.tiles.window)
        return [encode_tiled(rgb_pixels(image), self.tiles, self.batch, forward) for image in images]

    def encode_crops(self, crops: Sequence[ImageLike]) -> list[Features]:
        """Features of what fills the input by itself, whatever becomes of large images."""
        return self.encode(crops) if self.tiles is None else self.batch.run(crops, self._encode_batch)

    def get_features(
        self, image: ImageLike | Sequence[ImageLike], mask: PatchMask = None
    ) -> torch.Tensor | list[torch.Tensor]:
        """Patch features `(n_patches, dim)`, row by row, without CLS and registers; with a boolean `mask` over the
        patches only the selected rows. A list of images gives a list.
        """
        import torch

        images = [rgb_pixels(one) for one in _as_list(image)]
        selected = [self._selected(mask, one.size) for one in images]
        encoded = zip(self.encode(images), selected, strict=True)
        rows = [torch.from_numpy(features.patches[chosen]) for features, chosen in encoded]
        return rows if isinstance(image, list | tuple) else rows[0]

    def get_cls_feature(self, image: ImageLike | Sequence[ImageLike]) -> torch.Tensor:
        """The CLS feature `(dim,)`; for a list of images `(n, dim)`."""
        import torch

        rows = torch.from_numpy(np.stack([features.cls for features in self.encode(_as_list(image))]))
        return rows if isinstance(image, list | tuple) else rows[0]

    def _selected(self, mask: PatchMask, size: Size) -> NDArray[np.bool_]:
        """The patch mask of an image of that size as booleans `(n_patches,)`; `None` selects every patch.

        Another length is a `ValueError`.
        """
        rows, columns = self.image_geometry.shape(size)
        if mask is None:
            return np.ones(rows * columns, np.bool_)
        selected = np.asarray(mask).reshape(-1).astype(np.bool_)
        if len(selected) != rows * columns:
            raise ValueError(f"a mask of {len(selected)} patches does not fit {rows}×{columns}")
        return selected

    def _encode_batch(self, images: Sequence[ImageLike], geometry: Geometry | None = None) -> list[Features]:
        """Features of images that take the way of `geometry`, by default the backbone's own."""
        from pytest_editeval.vision.networks import hidden_states
        from pytest_editeval.vision.placing import compiler_failed

        geometry = geometry or self.geometry
        network, pixels = self.model, self._pixels(images, geometry)
        try:
            hidden, pooled = hidden_states(network, pixels, self.placement)
        except (TypeError, ValueError) as error:  # version 5 refuses most of these when it reads the configuration
            raise CheckpointError(f"{self.model_path}: its config.json does not work: {first_line(error)}") from error
        except RuntimeError as error:
            if not compiler_failed(error):
                raise
            raise CheckpointError(f"{self.model_path}: compile does not work here: {first_line(error)}") from error
        registers = self.info.num_register_tokens
        skipped = self.kind.leading + registers
        if hidden.shape[1] != skipped + geometry.grid**2:
            first = f"CLS, {registers} registers" if self.kind.leading else f"{registers} registers"
            raise CheckpointError(
                f"{self.model_path}: the model returns {hidden.shape[1]} tokens where {first} and "
                f"{geometry.grid}×{geometry.grid} patches were expected"
            )
        whole = pooled if self.kind.pooled else hidden[:, 0]
        if whole is None:
            raise CheckpointError(f"{self.model_path} has no pooled output, which stands for the CLS feature here")
        if not (np.isfinite(hidden).all() and np.isfinite(whole).all()):
            raise MetricError(f"{self.model_path} ({self.dtype} on {self.device}) returned NaN or infinite features")
        return [Features(rows[skipped:].copy(), cls.copy()) for rows, cls in zip(hidden, whole, strict=True)]

    def _pixels(self, images: Sequence[ImageLike], geometry: Geometry | None = None) -> torch.Tensor:
        """Normalised pixels `(n, 3, input_size, input_size)`; images of one size go through the processor together."""
        import torch

        from pytest_editeval.vision.networks import normalised

        by_size: dict[Size, list[int]] = {}
        opened = [rgb_pixels(image) for image in images]
        for index, image in enumerate(opened):
            by_size.setdefault(image.size, []).append(index)
        geometry = geometry or self.geometry
        side = geometry.input_size
        pixels = torch.empty(len(opened), 3, side, side, dtype=torch.float32)
        for indices in by_size.values():
            same = [opened[index] for index in indices]
            pixels[indices] = normalised(same, self.processor, geometry, self.model_path)
        return pixels

    def _format(self, domain: Domain | None, architecture: str | None) -> Format:
        for name, value in (("domain", domain), ("architecture", architecture)):
            if value is not None:
                raise CheckpointError(f"{self.model_path}: {name} is a setting of DINOv3, and this is {self.family}")
        return transformers_format(self.model_path)

    def _at_size(self, input_size: int) -> Geometry:
        own = self.info.geometry
        if not self.kind.resizable and input_size != own.input_size:
            raise CheckpointError(
                f"{self.model_path}: input_size {input_size} is not possible, its positions are for {own.input_size} px"
            )
        edge = own.shortest_edge and own.shortest_edge * input_size // own.input_size
        checked_geometry(self.model_path, input_size, own.patch_size, edge, whole=self.kind.resizable)
        return replace(own, input_size=input_size, shortest_edge=edge)

    def _family(self, info: BackboneInfo) -> Family:
        found = self.families.get(info.model_type)
        if found is not None:
            return found
        near = REFUSED.get(info.model_type)
        raise CheckpointError(
            f"{info.model_path} is a {info.model_type!r} checkpoint; {type(self).__name__} takes: "
            f"{', '.join(sorted(self.families))}" + (f"; {near}" if near else "")
        )


class CLIPMixin(Backbone):
    """The vision tower of CLIP, whose features are taken before the post layer norm, or of SigLIP and SigLIP 2."""

    family = "CLIP"
    default_path = "openai/clip-vit-base-patch32"
    families = CLIP_FAMILIES

    @property
    def img_input_size(self) -> int:
        """Side of the input in pixels."""
        return self.geometry.input_size


class DINOv3Mixin(Backbone):
    """DINOv3's vision transformers and ConvNeXts, DINOv2 with and without registers, and those of timm's format."""

    family = "DINOv3"
    families = DINO_FAMILIES

    def _format(self, domain: Domain | None, architecture: str | None) -> Format:
        if domain is not None and domain not in NORMALISATION:
            raise CheckpointError(f"unknown domain {domain!r}; allowed: {', '.join(NORMALISATION)}")
        return dino_format(self.model_path, domain, architecture)

    @property
    def input_image_size(self) -> int:
        """Side of the input in pixels."""
        return self.geometry.input_size


def _as_list(image: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(image, list | tuple):
        return list(image)
    return [cast(ImageLike, image)]
