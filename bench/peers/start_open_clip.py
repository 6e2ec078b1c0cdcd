"""The first work of a program on PyTorch: imports, a tower read with open_clip, one picture through it.

usage: start_open_clip.py ENCODER
"""
import sys

import open_clip
import torch
from PIL import Image

from common import THREADS

torch.set_num_threads(THREADS)
model, transform = open_clip.create_model_from_pretrained(f"local-dir:{sys.argv[1]}")
with torch.inference_mode():
    print(model.eval().encode_image(transform(Image.new("RGB", (32, 32))).unsqueeze(0)).shape)
