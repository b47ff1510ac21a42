"""Views: augmented images as pure functions, computed in batches on the device.

View number v of image i at strength s depends on (seed, i, v, s) alone, not on the trial, the batch or the order.
Trials of equal strength therefore train on the same images in the same epoch (common random numbers) and can share
the activations of a frozen prefix.

The views preserve lesions of a few pixels: no inversion, solarization or posterization, no crop below 80 % of the
field, and no blur beyond a 3 x 3 binomial kernel. Rotations and flips are symmetries of fundus images and come first.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# At strength 1: rotation (degrees), log zoom, shift (fraction of the side), brightness, contrast, saturation and
# channel gain (fractions), share of the blurred image.
_ROTATION, _ZOOM, _SHIFT, _BRIGHTNESS, _CONTRAST, _SATURATION, _GAIN, _BLUR = 90.0, 0.2, 0.05, 0.2, 0.3, 0.3, 0.1, 0.8
_DRAWS = 13
"""Random numbers for one view of one image."""

VIEWS_VERSION = 1
"""Part of every cache key; raise it when the same random numbers give another view."""

_FIELD_EDGE = 0.04
"""Grey level below which a pixel belongs partly to the black surround."""

_LUMA = (0.299, 0.587, 0.114)


class Views:
    """Plain and augmented images of a data set, and their normalization for a backbone.

    Views have 8 bits per channel, as the images have: they can be stored exactly in a quarter of the size of float32.

    Args:
        images: decoded images, uint8, shape (images, size, size, 3): an array, which may be memory-mapped, or a tensor
            on the device.
        mean: per-channel mean of the backbone's input, for images in [0, 1].
        std: per-channel standard deviation, likewise.
        device: where batches are computed.
        seed: seed of the views.
    """

    def __init__(
        self,
        images: NDArray[np.uint8] | Tensor,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self._images = images
        self._device = device
        self.seed = seed
        # For a whole row of pixels: over three numbers at a time, normalization takes six times as long on a CPU.
        self._scale = torch.tensor([1 / (255 * s) for s in std], device=device).repeat(self.size)
        self._shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=device).repeat(self.size)

    @property
    def size(self) -> int:
        """Height and width of an image, in pixels."""
        return int(self._images.shape[1])

    def __len__(self) -> int:
        return len(self._images)

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the plain images, uint8 of shape (n, 3, size, size), channels last in memory."""
        if isinstance(self._images, Tensor):
            batch = self._images[torch.from_numpy(indices).to(self._device, non_blocking=True)]
        else:
            batch = torch.from_numpy(np.ascontiguousarray(self._images[indices])).to(self._device)
        return batch.permute(0, 3, 1, 2)

    def augmented(self, indices: NDArray[np.int64], view: int, strength: float) -> Tensor:
        """Return view number ``view`` at ``strength``, in the layout of ``plain``; strength 0 is the plain image."""
        if strength == 0:
            return self.plain(indices)
        draws = draw_view(self.seed, indices, view)
        images = _move(self.plain(indices).float().div_(255), draws, strength)
        blurred_share = _per_image(draws[:, 6].clip(min=0) * (strength * _BLUR), images).unsqueeze(1)
        images = torch.lerp(images, _smooth(_smooth(images, 2), 3), blurred_share)
        pixels = _recolour(images, draws, strength).mul_(255).round_().to(torch.uint8)
        return pixels.contiguous(memory_format=torch.channels_last)

    def normalize(self, images: Tensor) -> Tensor:
        """Return the input of the backbone for images of ``plain``: float32, same shape, channels last in memory."""
        normalized = images.to(torch.float32, memory_format=torch.channels_last)
        rows = normalized.permute(0, 2, 3, 1).view(len(images), self.size, self.size * 3)
        rows.mul_(self._scale).sub_(self._shift)
        return normalized


def draw_view(seed: int, indices: NDArray[np.int64], view: int) -> NDArray[np.float64]:
    """Return the random numbers of one view of some images: uniform in [-1, 1), shape (n, 13).

    Philox (Salmon et al. 2011) fills the rows in order, so row i does not depend on the number of rows.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, view], dtype=np.uint64)))
    rows = generator.random((int(indices.max()) + 1, _DRAWS), dtype=np.float32)
    return np.asarray(rows[indices] * 2 - 1, dtype=np.float64)


# Numbers of which each image has one are computed in double precision and rounded once. Vectorized functions in single
# precision may round the last image of a batch differently from the first, and a view must not depend on its batch.


def _move(images: Tensor, draws: NDArray[np.float64], strength: float) -> Tensor:
    """Flip, rotate, zoom and shift in one resampling; pixels from outside the image are black, as around the field."""
    angle = draws[:, 0] * (strength * _ROTATION * np.pi / 180)
    zoom = np.exp(draws[:, 1] * (strength * _ZOOM))
    flip_x, flip_y = (np.where(draws[:, column] < 0, -1.0, 1.0) for column in (2, 3))
    shift_x, shift_y = (draws[:, column] * (strength * _SHIFT * 2) for column in (4, 5))
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    size = images.shape[-1]
    centres = (torch.arange(size, device=images.device) * 2 + 1) / size - 1  # in [-1, 1], as grid_sample counts
    x, y = centres.view(1, 1, -1), centres.view(1, -1, 1)
    grid = torch.stack(
        [
            _per_image(cos * flip_x, images) * x - _per_image(sin * flip_y, images) * y + _per_image(shift_x, images),
            _per_image(sin * flip_x, images) * x + _per_image(cos * flip_y, images) * y + _per_image(shift_y, images),
        ],
        dim=-1,
    )
    return F.grid_sample(images.contiguous(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _per_image(values: NDArray[np.float64], images: Tensor) -> Tensor:
    """Return one number per image as float32 of shape (n, 1, 1)."""
    return torch.from_numpy(values.astype(np.float32)).to(images.device).view(-1, 1, 1)


def _smooth(images: Tensor, dim: int) -> Tensor:
    """Convolve with (1, 2, 1) / 4 along one axis, edges repeated; sums of slices are faster than a convolution."""
    size = images.shape[dim]
    before = torch.cat([images.narrow(dim, 0, 1), images.narrow(dim, 0, size - 1)], dim)
    after = torch.cat([images.narrow(dim, 1, size - 1), images.narrow(dim, size - 1, 1)], dim)
    return before.add_(after).mul_(0.25).add_(images, alpha=0.5)


def _recolour(images: Tensor, draws: NDArray[np.float64], strength: float) -> Tensor:
    """Change brightness, contrast, saturation and the balance of the channels; black stays black."""

    def factor(column: int, largest: float) -> NDArray[np.float64]:
        return np.asarray(1 + draws[:, column] * (strength * largest))

    luma = torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)
    grey = (images * luma).sum(dim=1, keepdim=True)
    field = (grey / _FIELD_EDGE).clamp_(max=1)  # 1 in the field of view, 0 in the black surround
    area = field.sum(dim=(2, 3), keepdim=True, dtype=torch.float64).clamp_(min=1)
    mean = ((grey * field).sum(dim=(2, 3), keepdim=True, dtype=torch.float64) / area).float()
    saturated = torch.lerp(grey, images, _per_image(factor(7, _SATURATION), images).unsqueeze(1))
    contrasted = torch.lerp(mean, saturated, _per_image(factor(8, _CONTRAST), images).unsqueeze(1))
    gains = np.stack([factor(column, _GAIN) for column in (9, 10, 11)], axis=1) * factor(12, _BRIGHTNESS)[:, None]
    gain = torch.from_numpy(gains.astype(np.float32)).to(images.device).view(-1, 3, 1, 1)
    return contrasted.mul_(gain).mul_(field).clamp_(0, 1)
