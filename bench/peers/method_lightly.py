"""One training step of a method as its lightly example writes it: lightly's heads and loss, torchvision's ResNet-18 with the
CIFAR stem, SGD.

usage: method_lightly.py METHOD(simclr|simsiam|byol|swav|moco-v3) SIZE BATCH SECONDS
"""
import copy
import sys

import torch
import torchvision
from lightly import loss as losses
from lightly.models.modules import heads
from lightly.models.utils import deactivate_requires_grad, update_momentum

from common import THREADS, timed_loop

method, size, batch, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
torch.set_num_threads(THREADS)
torch.manual_seed(0)


def backbone():
    net = torchvision.models.resnet18(weights=None)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool, net.fc = torch.nn.Identity(), torch.nn.Identity()
    return net.to(memory_format=torch.channels_last)


views = [torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last) for _ in range(2)]


class Momentum(torch.nn.Module):
    """A network with a predictor and the slow copy that it follows."""

    def __init__(self, projector, predictor):
        super().__init__()
        self.encoder, self.projector, self.predictor = backbone(), projector, predictor
        self.slow = copy.deepcopy(torch.nn.Sequential(self.encoder, self.projector))
        deactivate_requires_grad(self.slow)

    def views(self, momentum):
        update_momentum(self.encoder, self.slow[0], momentum)
        update_momentum(self.projector, self.slow[1], momentum)
        predictions = [self.predictor(self.projector(self.encoder(view))) for view in views]
        with torch.no_grad():
            targets = [self.slow(view) for view in views]
        return predictions, targets


if method == "simclr":
    net = torch.nn.Sequential(backbone(), heads.SimCLRProjectionHead(512, 512, 128))
    criterion = losses.NTXentLoss(temperature=0.5)
    compute = lambda: criterion(net(views[0]), net(views[1]))
elif method == "simsiam":
    net = torch.nn.ModuleList([backbone(), heads.SimSiamProjectionHead(512, 512, 2048), heads.SimSiamPredictionHead(2048, 512, 2048)])
    criterion = losses.NegativeCosineSimilarity()

    def compute():
        z = [net[1](net[0](view)) for view in views]
        p = [net[2](each) for each in z]
        return 0.5 * (criterion(p[0], z[1].detach()) + criterion(p[1], z[0].detach()))
elif method == "byol":
    net = Momentum(heads.BYOLProjectionHead(512, 4096, 256), heads.BYOLPredictionHead(256, 4096, 256))
    criterion = losses.NegativeCosineSimilarity()

    def compute():
        p, z = net.views(0.996)
        return 0.5 * (criterion(p[0], z[1]) + criterion(p[1], z[0]))
elif method == "moco-v3":
    net = Momentum(heads.MoCoProjectionHead(512, 4096, 256, num_layers=2, batch_norm=True),
                   heads.MoCoProjectionHead(256, 4096, 256, num_layers=2, batch_norm=True))

    def compute():
        p, z = net.views(0.99)
        p, z = [torch.nn.functional.normalize(each, dim=1) for each in p], [torch.nn.functional.normalize(each, dim=1) for each in z]
        places = torch.arange(batch)
        return sum(torch.nn.functional.cross_entropy(a @ b.t() / 0.2, places) * 0.4 for a, b in ((p[0], z[1]), (p[1], z[0])))
elif method == "swav":
    net = torch.nn.ModuleList([backbone(), heads.SwaVProjectionHead(512, 2048, 128), heads.SwaVPrototypes(128, n_prototypes=3000)])
    criterion = losses.SwaVLoss()

    def compute():
        net[2].normalize()
        scores = [net[2](torch.nn.functional.normalize(net[1](net[0](view)), dim=1)) for view in views]
        return criterion(scores, [])
else:
    sys.exit(f"no method {method}")
optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.03, momentum=0.9, weight_decay=1e-4)


def step():
    loss = compute()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


timed_loop(step, seconds, batch)
