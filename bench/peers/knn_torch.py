"""Weighted nearest neighbours in PyTorch, as the usual evaluation scripts write it: products in chunks, topk, one-hot votes.

usage: knn_torch.py IMAGES QUERIES WIDTH CLASSES K SECONDS
"""
import sys

import torch

from common import THREADS, timed_loop

images, queries, width, classes, k = map(int, sys.argv[1:6])
seconds = float(sys.argv[6])
torch.set_num_threads(THREADS)
torch.manual_seed(0)
normal = torch.nn.functional.normalize
bank, labels, asked = torch.randn(images, width), torch.randint(classes, (images,)), torch.randn(queries, width)


@torch.no_grad()
def votes():
    rows = normal(bank, dim=1).t().contiguous()
    for chunk in asked.split(100):
        similar, places = (normal(chunk, dim=1) @ rows).topk(k, dim=1)
        one_hot = torch.nn.functional.one_hot(labels[places], classes).float()  # [n,k,classes]
        (one_hot * (similar / 0.07).exp().unsqueeze(2)).sum(1).sort(1, descending=True)


timed_loop(votes, seconds, queries, warmup=1)
