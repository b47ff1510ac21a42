"""Views: augmented pictures as pure functions, made in batches on the device.

View number v of image i at strength s depends on (seed, i, v, s) alone: not on the trial, the batch or the order.
Trials with equal strength therefore see the same pictures in the same epoch (common random numbers), and what a
frozen prefix makes of them can be shared.

The views keep lesions of a few pixels: no inversion, solarization or posterization, no crop below 80 % of the
field, and a blur that never goes beyond a 3 x 3 binomial kernel. Rotations and flips are full symmetries of a
fundus photograph, so they come first.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# At strength 1: rotation (degrees), log zoom, shift (fraction of the side), brightness, contrast, saturation and
# channel gain (fractions), share of the blurred picture.
_ROTATION, _ZOOM, _SHIFT, _BRIGHTNESS, _CONTRAST, _SATURATION, _GAIN, _BLUR = 90.0, 0.2, 0.05, 0.2, 0.3, 0.3, 0.1, 0.8
_DRAWS = 13
_FIELD_EDGE = 0.04  # below this grey level a pixel fades into the black surround
_LUMA = (0.299, 0.587, 0.114)


class Views:
    """Plain pictures and augmented views of a cohort's photographs, normalized for a backbone.

    Args:
        images: decoded photographs, uint8, shape (images, size, size, 3); may be memory-mapped.
        mean: per-channel mean of the backbone's input, of pictures in [0, 1].
        std: per-channel standard deviation, likewise.
        device: where batches are made.
        seed: seed of the views.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self._images = images
        self._device = device
        self._seed = seed
        self._mean = torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(std, device=device).view(1, 3, 1, 1)

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        """Return the plain pictures, float32 of shape (n, 3, size, size)."""
        return self._normalize(self._pixels(indices))

    def augmented(self, indices: NDArray[np.int64], view: int, strength: float) -> Tensor:
        """Return view number ``view`` at ``strength``, shape as ``plain``; strength 0 is the plain picture."""
        if strength == 0:
            return self.plain(indices)
        draws = draw_view(self._seed, indices, view).to(self._device)
        pictures = _move(self._pixels(indices), draws, strength)
        return self._normalize(_recolour(_blur(pictures, draws, strength), draws, strength))

    def _pixels(self, indices: NDArray[np.int64]) -> Tensor:
        batch = torch.from_numpy(np.ascontiguousarray(self._images[indices])).to(self._device)
        return batch.permute(0, 3, 1, 2).float().div_(255)

    def _normalize(self, pictures: Tensor) -> Tensor:
        return ((pictures - self._mean) / self._std).contiguous(memory_format=torch.channels_last)


def draw_view(seed: int, indices: NDArray[np.int64], view: int) -> Tensor:
    """Return the random numbers behind one view of some images: uniform in [-1, 1), shape (n, 13).

    Philox (Salmon et al. 2011) fills its rows in order, so row i never depends on how many rows are drawn.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, view], dtype=np.uint64)))
    rows = generator.random((int(indices.max()) + 1, _DRAWS), dtype=np.float32)
    return torch.from_numpy(rows[indices] * 2 - 1)


def _move(pictures: Tensor, draws: Tensor, strength: float) -> Tensor:
    """Flip, rotate, zoom and shift in one resampling; what comes into the frame is black, as around the field."""
    angle = draws[:, 0] * (strength * _ROTATION * torch.pi / 180)
    zoom = torch.exp(draws[:, 1] * (strength * _ZOOM))
    flip_x, flip_y = torch.sign(draws[:, 2] + 1e-9), torch.sign(draws[:, 3] + 1e-9)
    shift = draws[:, 4:6] * (strength * _SHIFT * 2)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack([cos * flip_x, -sin * flip_y, shift[:, 0], sin * flip_x, cos * flip_y, shift[:, 1]], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _blur(pictures: Tensor, draws: Tensor, strength: float) -> Tensor:
    share = (draws[:, 6].clamp(min=0) * (strength * _BLUR)).view(-1, 1, 1, 1)
    return torch.lerp(pictures, _smooth(_smooth(pictures, 2), 3), share)


def _smooth(pictures: Tensor, dim: int) -> Tensor:
    """Convolve with (1, 2, 1) / 4 along one axis, edges repeated; sums of slices are faster than a convolution here."""
    size = pictures.shape[dim]
    before = torch.cat([pictures.narrow(dim, 0, 1), pictures.narrow(dim, 0, size - 1)], dim)
    after = torch.cat([pictures.narrow(dim, 1, size - 1), pictures.narrow(dim, size - 1, 1)], dim)
    return before.add_(after).mul_(0.25).add_(pictures, alpha=0.5)


def _recolour(pictures: Tensor, draws: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast, saturation and the balance of the channels; black stays black."""

    def factor(columns: slice, most: float) -> Tensor:
        return (1 + draws[:, columns] * (strength * most)).view(len(draws), -1, 1, 1)

    luma = torch.tensor(_LUMA, device=pictures.device).view(1, 3, 1, 1)
    grey = (pictures * luma).sum(dim=1, keepdim=True)
    field = (grey / _FIELD_EDGE).clamp(max=1)
    level = (grey * field).sum(dim=(2, 3), keepdim=True) / field.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    pictures = grey + (pictures - grey) * factor(slice(7, 8), _SATURATION)
    pictures = level + (pictures - level) * factor(slice(8, 9), _CONTRAST)
    gain = factor(slice(9, 12), _GAIN) * factor(slice(12, 13), _BRIGHTNESS)
    return (pictures * gain * field).clamp(0, 1)
