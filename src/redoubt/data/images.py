"""Folders of images, one subfolder per class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from redoubt.data.raw import MAX_BYTES, Raw, unreadable
from redoubt.models.base import Face
from redoubt.records import DataError, Place

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA")


def read_images(folder: Path, face: Face) -> Raw:
    """Images of `[C, H, W]` faces with 1 or 3 channels, or of `[H, W]` faces, as bytes `[N, *face.shape]`.

    Subfolders are classes: by number if all their names are numbers, by name if they are the face's labels, and
    otherwise in alphabetical order.  Colours are converted to the face's channels; sizes must fit as they are.

    Raises:
        DataError: no folder, no classes, a file that is no image of 8 bits per channel, or of another size.
    """
    place = Place(str(folder))
    if len(face.shape) not in (2, 3) or (len(face.shape) == 3 and face.shape[0] not in (1, 3)):
        raise DataError(
            f"images do not fit the input shape {list(face.shape)}",
            place,
            remedy="write shape: [channels, height, width] with 1 or 3 channels",
        )
    channels = face.shape[0] if len(face.shape) == 3 else 1
    height, width = face.shape[-2:]
    try:
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        numbers = _numbers([entry.name for entry in classes], face.labels)
        files = [
            (file, number)
            for entry, number in zip(classes, numbers, strict=True)
            for file in sorted(entry.iterdir())
            if not file.name.startswith(".")
        ]
    except OSError as error:
        raise unreadable(folder, error) from error
    if not files:
        raise DataError("holds no subfolders with images", place, remedy="make one subfolder per class")
    if len(files) * channels * height * width > MAX_BYTES:
        raise DataError(f"holds more than {MAX_BYTES} bytes of pixels", place, remedy="give fewer images")
    x = np.stack([_pixels(file, channels, height, width) for file, _ in files])
    y = np.array([number for _, number in files])
    return Raw(x.reshape(len(files), *face.shape), y, (0.0, 255.0), lambda row: Place(str(files[row][0])), place)


def _numbers(names: list[str], labels: Sequence[str]) -> list[int]:
    if names and all(name.isascii() and name.isdigit() for name in names):
        return [int(name) for name in names]
    if set(names) <= set(labels):
        return [list(labels).index(name) for name in names]
    return list(range(len(names)))


def _pixels(file: Path, channels: int, height: int, width: int) -> NDArray[np.uint8]:
    """`[C, H, W]` bytes.  The size is read and compared before any pixel is unpacked."""
    place = Place(str(file))
    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.size != (width, height):
                raise DataError(
                    f"is {image.size[0]} x {image.size[1]} pixels; the model takes {width} x {height}",
                    place,
                    remedy="resize the images beforehand, as the model's own preparation does",
                )
            if image.mode not in _EIGHT_BIT:
                raise DataError(
                    f"has pixels of mode {image.mode}, not of 8 bits per channel", place, remedy="convert to 8 bits"
                )
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, EOFError) as error:
        raise DataError("is not an image that can be read", place, remedy="remove the file, or mend it") from error
    except OSError as error:
        if error.errno is not None:
            raise unreadable(file, error) from error
        raise DataError(f"is a damaged image: {error}", place, remedy="remove the file, or mend it") from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
