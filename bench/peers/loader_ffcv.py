"""View pairs out of FFCV: a file of JPEGs made beforehand, two threads, jit-compiled transforms. FFCV's core cannot take two views of
one image, so the file holds every image twice; it has no grayscale and no blur, so its views are crops, flips and colour changes alone.

Needs a Python with ffcv 1.0.2, which wants OpenCV's and libturbojpeg's headers; `FFCV=PYTHON make bench` then measures it.

usage: loader_ffcv.py FOLDER SIZE SECONDS
"""
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch
from ffcv.fields import RGBImageField
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomBrightness, RandomContrast, RandomHorizontalFlip, RandomSaturation, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from PIL import Image

from common import THREADS, report

folder, size, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
MEAN, STD = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255


class Twice:
    def __init__(self):
        self.files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image = np.array(Image.open(self.files[index]).convert("RGB"))
        return image, image


def view():
    return [RandomResizedCropRGBImageDecoder((size, size), scale=(0.2, 1.0)), RandomHorizontalFlip(), RandomBrightness(0.4, 0.8), RandomContrast(0.4, 0.8),
            RandomSaturation(0.4, 0.8), NormalizeImage(MEAN, STD, np.float32), ToTensor(), ToTorchImage(channels_last=False)]


torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as place:
    file = f"{place}/pairs.beton"
    DatasetWriter(file, {name: RGBImageField(write_mode="jpg", jpeg_quality=90) for name in ("one", "two")}, num_workers=THREADS).from_indexed_dataset(Twice())
    loader = Loader(file, batch_size=64, num_workers=THREADS, order=OrderOption.RANDOM, os_cache=True, pipelines={"one": view(), "two": view()})
    for _ in loader:  # compiles
        pass
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for one, two in loader:
            done += len(one)
    report(done, time.perf_counter() - begin)
