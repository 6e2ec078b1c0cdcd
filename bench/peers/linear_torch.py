"""Linear classifiers on frozen features in PyTorch, one for each learning rate, all fed by one pass over the rows.

usage: linear_torch.py IMAGES WIDTH CLASSES RATES BATCH SECONDS
"""
import sys

import torch

from common import THREADS, timed_loop

images, width, classes, rates, batch = map(int, sys.argv[1:6])
seconds = float(sys.argv[6])
torch.set_num_threads(THREADS)
torch.manual_seed(0)
features, labels = torch.randn(images, width), torch.randint(classes, (images,))
heads = [torch.nn.Linear(width, classes) for _ in range(rates)]
optimizers = [torch.optim.SGD(head.parameters(), lr=1e-3 * 2 ** i, momentum=0.9) for i, head in enumerate(heads)]
criterion = torch.nn.CrossEntropyLoss()

inputs = (features - features.mean(0)) / features.std(0)


def epoch():
    for places in torch.randperm(images).split(batch):
        x, y = inputs[places], labels[places]
        for head, optimizer in zip(heads, optimizers):
            loss = criterion(head(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


timed_loop(epoch, seconds, images, warmup=1)
