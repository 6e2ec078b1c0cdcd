"""MoCo v2 view pairs as PyTorch users make them: torchvision transforms on PIL images in a DataLoader with 2 workers.

usage: loader_torchvision.py FOLDER SIZE SECONDS
"""
import pathlib
import random
import resource
import sys
import time

import torch
from PIL import Image, ImageFilter
from torchvision import transforms

from common import THREADS, report

folder, size, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])


class Blur:  # of MoCo v2: sigma from 0.1 to 2
    def __call__(self, image):
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


augment = transforms.Compose([
    transforms.RandomResizedCrop(size, scale=(0.2, 1.0)),
    transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
    transforms.RandomGrayscale(p=0.2),
    transforms.RandomApply([Blur()], p=0.5),
    transforms.RandomHorizontalFlip(),
    transforms.ToTensor(),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])


class Pairs(torch.utils.data.Dataset):
    def __init__(self):
        self.files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))

    def __len__(self):
        return len(self.files) * 1000

    def __getitem__(self, index):
        image = Image.open(self.files[index % len(self.files)]).convert("RGB")
        return augment(image), augment(image)


torch.set_num_threads(1)
loader = iter(torch.utils.data.DataLoader(Pairs(), batch_size=64, num_workers=THREADS, prefetch_factor=4))
next(loader)
begin, done = time.perf_counter(), 0
while time.perf_counter() - begin < seconds:
    done += len(next(loader)[0])
elapsed = time.perf_counter() - begin
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
report(done, elapsed, worker_memory_bytes=children)
