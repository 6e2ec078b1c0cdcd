"""Embeddings of a folder of pictures with open_clip's own loader, transform and tower.

usage: features_open_clip.py IMAGES ENCODER BATCH SECONDS
"""
import pathlib
import sys

import open_clip
import torch
from PIL import Image

from common import THREADS, timed_loop

images, folder, batch, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
torch.set_num_threads(THREADS)
model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
model.eval()
files = sorted(p for p in pathlib.Path(images).rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})


class Pictures(torch.utils.data.Dataset):
    def __len__(self):
        return 1 << 30

    def __getitem__(self, i):
        return transform(Image.open(files[i % len(files)]).convert("RGB"))


batches = iter(torch.utils.data.DataLoader(Pictures(), batch_size=batch, num_workers=THREADS, shuffle=False))


@torch.inference_mode()
def step():
    model.encode_image(next(batches))


timed_loop(step, seconds, batch)
