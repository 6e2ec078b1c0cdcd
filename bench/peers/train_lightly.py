"""Pretrains an encoder with lightly's heads and losses, as its examples write each method, in the settings of a recipe's arm:
torchvision's ResNet with the 3 x 3 stem, its transforms on Pillow images, SGD and a cosine. bf16 where the processor multiplies
it natively, as ours does.

usage: train_lightly.py IMAGES(folder of classes, whose names are not looked at) SETTINGS(json: a resolved `[pretrain]`) OUT.safetensors [SEED]
"""
import copy
import json
import math
import pathlib
import random
import sys

import torch
import torchvision
from lightly import loss as losses
from lightly.models.modules import heads
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from PIL import Image, ImageFilter
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize
from torchvision import transforms as T

from common import THREADS

BF16 = "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Blur:
    def __call__(self, image):
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def transform(method, view, size):
    """What the method's paper does to its first or second view."""
    strength = {"moco-v2": (0.4, 0.4, 0.4, 0.1), "simsiam": (0.4, 0.4, 0.4, 0.1), "byol": (0.4, 0.4, 0.2, 0.1), "moco-v3": (0.4, 0.4, 0.2, 0.1),
                "simclr": (0.8, 0.8, 0.8, 0.2), "swav": (0.8, 0.8, 0.8, 0.2)}[method]
    smallest = {"byol": 0.08, "simclr": 0.08, "swav": 0.14}.get(method, 0.2)
    filter = T.InterpolationMode.BICUBIC if method == "byol" else T.InterpolationMode.BILINEAR
    uneven = method in ("byol", "moco-v3")
    return T.Compose([
        T.RandomResizedCrop(size, scale=(smallest, 1), interpolation=filter),
        T.RandomApply([T.ColorJitter(*strength)], p=0.8),
        T.RandomGrayscale(p=0.2),
        T.RandomApply([Blur()], p=(1.0, 0.1)[view] if uneven else 0.5),
        T.RandomSolarize(128, p=0.2 if uneven and view == 1 else 0),
        T.RandomHorizontalFlip(),
        T.ToTensor(),
        T.Normalize(MEAN, STD),
    ])


class Pairs(torch.utils.data.Dataset):
    def __init__(self, folder, method, size):
        self.images = [Image.open(file).convert("RGB") for file in sorted(pathlib.Path(folder).rglob("*.png"))]
        self.views = [transform(method, view, size) for view in (0, 1)]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return tuple(view(self.images[i]) for view in self.views)


def resnet18(width):
    net = torchvision.models.resnet18(weights=None)
    planes = [round(width * each) for each in (64, 128, 256, 512)]
    net.inplanes = planes[0]
    net.conv1, net.bn1 = torch.nn.Conv2d(3, planes[0], 3, 1, 1, bias=False), torch.nn.BatchNorm2d(planes[0])
    for stage in range(4):
        setattr(net, f"layer{stage + 1}", net._make_layer(torchvision.models.resnet.BasicBlock, planes[stage], 2, stride=1 if stage == 0 else 2))
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool, net.fc = torch.nn.Identity(), torch.nn.Identity()
    return net.to(memory_format=torch.channels_last), planes[3]


class Learner(torch.nn.Module):
    """encoder, projector, predictor and, where the method has one, the slow copy of the first two."""

    def __init__(self, c):
        super().__init__()
        self.c, method = c, c["method"]
        hidden, out, predictor = c["projector_hidden"], c["projector_output"], c["predictor_hidden"]
        self.encoder, width = resnet18(c["width"])
        self.projector = {
            "moco-v2": lambda: heads.MoCoProjectionHead(width, hidden, out),
            "simclr": lambda: heads.SimCLRProjectionHead(width, hidden, out),
            "simsiam": lambda: heads.SimSiamProjectionHead(width, hidden, out),
            "byol": lambda: heads.BYOLProjectionHead(width, hidden, out),
            "swav": lambda: heads.SwaVProjectionHead(width, hidden, out),
            "moco-v3": lambda: heads.MoCoProjectionHead(width, hidden, out, num_layers=2, batch_norm=True),
        }[method]()
        if method == "simsiam":
            self.predictor = heads.SimSiamPredictionHead(out, predictor, out)
        elif method == "byol":
            self.predictor = heads.BYOLPredictionHead(out, predictor, out)
        elif method == "moco-v3":
            self.predictor = heads.MoCoProjectionHead(out, predictor, out, num_layers=2, batch_norm=True)
        elif method == "swav":
            self.prototypes = heads.SwaVPrototypes(out, n_prototypes=c["swav"]["prototypes"])
        if method in ("moco-v2", "byol", "moco-v3"):
            self.slow = copy.deepcopy(torch.nn.Sequential(self.encoder, self.projector))
            deactivate_requires_grad(self.slow)
        self.criterion = {
            "moco-v2": lambda: losses.NTXentLoss(temperature=c["temperature"], memory_bank_size=(c["queue"], out)),
            "simclr": lambda: losses.NTXentLoss(temperature=c["temperature"]),
            "swav": lambda: losses.SwaVLoss(temperature=c["temperature"], sinkhorn_epsilon=c["swav"]["epsilon"], sinkhorn_iterations=c["swav"]["iterations"]),
        }.get(method, losses.NegativeCosineSimilarity)()

    def follow(self, step, steps):
        if hasattr(self, "slow"):
            momentum = self.c["ema"] if self.c["method"] == "moco-v2" else cosine_schedule(step, steps, self.c["ema"], 1)
            update_momentum(self.encoder, self.slow[0], momentum)
            update_momentum(self.projector, self.slow[1], momentum)

    def forward(self, a, b, frozen):
        method = self.c["method"]
        if method == "moco-v2":
            with torch.no_grad():
                key = self.slow(b)
            return self.criterion(self.projector(self.encoder(a)).float(), key.float())
        if method in ("simclr", "swav"):  # both views are one batch
            z = self.projector(self.encoder(torch.cat([a, b]))).float().chunk(2)
            if method == "simclr":
                return self.criterion(*z)
            self.prototypes.normalize()
            weight = self.prototypes.heads[0].weight
            with torch.autocast("cpu", enabled=False):
                return self.criterion([normalize(each, dim=1) @ (weight.detach() if frozen else weight).t() for each in z], [])
        z = [self.projector(self.encoder(view)) for view in (a, b)]
        p = [self.predictor(each).float() for each in z]
        if method == "simsiam":
            t = [each.detach().float() for each in z]
        else:
            with torch.no_grad():
                t = [self.slow(view).float() for view in (a, b)]
        if method == "moco-v3":
            p, t = ([normalize(each, dim=1) for each in side] for side in (p, t))
            places, temperature = torch.arange(len(a)), self.c["temperature"]
            return sum(2 * temperature * cross_entropy(x @ y.t() / temperature, places) for x, y in ((p[0], t[1]), (p[1], t[0])))
        cosines = self.criterion(p[0], t[1]) + self.criterion(p[1], t[0])
        return 0.5 * cosines if method == "simsiam" else 2 * cosines  # as SimSiam's paper and as BYOL's have it


def main():
    folder, settings, out = sys.argv[1:4]
    c, seed = json.loads(settings), int(sys.argv[4]) if len(sys.argv) > 4 else 0
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    random.seed(seed)
    loader = torch.utils.data.DataLoader(Pairs(folder, c["method"], c["size"]), batch_size=c["batch"], shuffle=True, drop_last=True, num_workers=THREADS,
                                         persistent_workers=True, worker_init_fn=lambda worker: (torch.set_num_threads(1), random.seed(torch.initial_seed())))
    net = Learner(c).train()
    decay = 1e-4 if c["weight_decay"] < 0 else c["weight_decay"]
    constant = list(net.predictor.parameters()) if c["method"] == "simsiam" else []
    others = [p for p in net.parameters() if p.requires_grad and all(p is not each for each in constant)]
    optimizer = torch.optim.SGD([{"params": others}] + ([{"params": constant}] if constant else []), lr=c["lr"], momentum=c["momentum"], weight_decay=decay)
    steps, warmup = c["epochs"] * len(loader), round(c["warmup_epochs"] * len(loader))
    last = c["final_lr"] if c["final_lr"] >= 0 else c["lr"] / 1000 if c["method"] == "swav" else 0
    step = 0
    for epoch in range(c["epochs"]):
        total = 0.0
        for a, b in loader:
            share = (step - warmup) / max(1, steps - warmup)
            optimizer.param_groups[0]["lr"] = c["lr"] * step / warmup if step < warmup else last + (c["lr"] - last) * 0.5 * (1 + math.cos(math.pi * share))
            a, b = (view.to(memory_format=torch.channels_last) for view in (a, b))
            with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
                loss = net(a, b, frozen=c["method"] == "swav" and epoch < c["swav"]["frozen_epochs"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            net.follow(step, steps)
            step += 1
            total += loss.item()
        if (epoch + 1) % 10 == 0:
            print(f"{c['method']}: epoch {epoch + 1} of {c['epochs']}, loss {total / len(loader):.4f}", file=sys.stderr, flush=True)
    save_file({name: value.contiguous() for name, value in net.encoder.state_dict().items()}, out)


main()
