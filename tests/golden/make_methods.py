"""BYOL, SwAV and MoCo v3 beside lightly, torchvision and timm: tests/golden/methods/.

Losses with gradients, of lightly where it has them, else of the papers' formulas; whole training steps, in float64 as in
make_ssl.py; the rates of timm's layer-wise decay; the rules that go by the name of LARS.
"""
import copy
import functools
import math
import pathlib

import timm
import timm.optim
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.models.resnet as tv
from lightly.loss import NegativeCosineSimilarity, SwaVLoss
from lightly.loss.swav_loss import sinkhorn
from lightly.models.utils import deactivate_requires_grad, normalize_weight, update_momentum
from lightly.utils.lars import LARS
from safetensors.torch import save_file

from make_models import SmallResnet
from make_ssl import keep, rename, start, views

OUT = pathlib.Path(__file__).parent / "methods"


def save(name, tensors):
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, OUT / f"{name}.safetensors")


def losses():
    n, d, k = 6, 8, 10
    t = {name: F.normalize(torch.randn(n, d), dim=1) @ F.normalize(torch.randn(d, k), dim=0) for name in ("scores1", "scores2")}
    t |= {name: torch.randn(n, d) * 2 for name in ("q1", "q2", "k1", "k2")}
    t["weights"] = torch.rand(n) + 0.5

    a, b = t["scores1"].clone().requires_grad_(), t["scores2"].clone().requires_grad_()
    loss = SwaVLoss(temperature=0.1, sinkhorn_iterations=3, sinkhorn_epsilon=0.05)([a, b], [])
    loss.backward()
    t |= {"swapped.mean": loss[0], "swapped.grad1": a.grad, "swapped.grad2": b.grad, "assignment": sinkhorn(t["scores1"])}
    a, b = t["scores1"].clone().requires_grad_(), t["scores2"].clone()
    each = 0.5 * (-(sinkhorn(b) * F.log_softmax(a / 0.1, 1)).sum(1) - (sinkhorn(a) * F.log_softmax(b / 0.1, 1)).sum(1))
    (each * t["weights"]).mean().backward()
    t |= {"swapped": each, "swapped.weighted_grad1": a.grad}

    leaves = {key: t[key].clone().requires_grad_() for key in ("q1", "q2", "k1", "k2")}
    unit = {key: F.normalize(value, dim=1) for key, value in leaves.items()}
    labels = torch.arange(n)
    each = 0.4 * (F.cross_entropy(unit["q1"] @ unit["k2"].t() / 0.2, labels, reduction="none") +
                  F.cross_entropy(unit["q2"] @ unit["k1"].t() / 0.2, labels, reduction="none"))
    each.mean().backward()
    t |= {"moco_v3": each} | {f"moco_v3.grad_{key}": leaf.grad for key, leaf in leaves.items()}
    save("losses", t)


def multi_positive():
    """StableRep's loss: cross-entropy against equal shares for an anchor's other views, itself left out."""
    v, n, d, temperature = 3, 5, 8, 0.2
    t = {"z": torch.randn(v, n, d) * 2, "weights": torch.rand(n) + 0.5}
    picture = torch.arange(n).repeat(v)
    own = torch.eye(v * n, dtype=torch.bool)
    target = ((picture[:, None] == picture[None]) & ~own).float()
    target = target / target.sum(1, keepdim=True)

    def each(z):
        unit = F.normalize(z.flatten(0, 1), dim=1)
        logits = (unit @ unit.t() / temperature).masked_fill(own, -1e9)
        return F.cross_entropy(logits, target, reduction="none").view(v, n).mean(0)

    z = t["z"].clone().requires_grad_()
    t["loss"] = each(z)
    t["loss"].mean().backward()
    t["grad"] = z.grad
    z = t["z"].clone().requires_grad_()
    (each(z) * t["weights"]).mean().backward()
    t["weighted_grad"] = z.grad
    save("multi_positive", t)


def mlp(widths, biases, norms):
    """Linear layers with norms ("affine", "plain" or None) and ReLU between them; `layers.N` as lightly has it."""
    layers = []
    for i, (bias, norm) in enumerate(zip(biases, norms)):
        layers.append(nn.Linear(widths[i], widths[i + 1], bias=bias))
        if norm:
            layers.append(nn.BatchNorm1d(widths[i + 1], affine=norm == "affine"))
        if i + 1 < len(biases):
            layers.append(nn.ReLU())
    head = nn.Module()
    head.layers = nn.Sequential(*layers)
    head.forward = head.layers.forward
    return head


def resnet():
    return SmallResnet(tv.BasicBlock, [2, 2, 2, 2], 2, True)


class MocoViT(timm.models.vision_transformer.VisionTransformer):
    """Frozen patch projection, fixed positions, the class token after the last norm."""

    def __init__(self):
        super().__init__(img_size=8, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=0)
        quarter, grid = 3, 2
        omega = 10000.0 ** (-torch.arange(quarter) / quarter)
        row, column = [torch.outer(p.flatten().float(), omega) for p in torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")]
        patches = torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1)
        self.pos_embed.data = torch.cat([torch.zeros(1, 4 * quarter), patches]).unsqueeze(0)
        for frozen in (self.pos_embed, self.patch_embed.proj.weight, self.patch_embed.proj.bias):
            frozen.requires_grad_(False)

    def forward(self, x):
        return self.forward_features(x)[:, 0]


def momentum(base, step, steps):
    return 1 - (1 - base) * 0.5 * (1 + math.cos(math.pi * step / steps))


def optimiser_of(*models):
    parameters = [p for model in models for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-4)


def copy_of(model):
    slow = copy.deepcopy(model)
    if "forward" in vars(slow):
        slow.forward = slow.layers.forward
    deactivate_requires_grad(slow)
    return slow


@functools.cache
def common():
    """The encoder and pictures that the runs share: methods/start."""
    t, encoder = {}, resnet()
    start(encoder, t, "encoder")
    t = {k: v.half() if v.is_floating_point() else v for k, v in t.items()}
    pictures = views(t, 3, 8, 8)
    save("start", rename(t))
    return encoder, pictures


ALL = ("weight", "bias", "1.bn2.running_mean")
SOME = ("layer1.0.conv1.weight", "layer4.1.conv2.weight", "layer3.0.bn1.running_var", "blocks.1.mlp.fc1.weight")


def siamese(name, encoder, projector, predictor, loss_of, moves_first, steps=3):
    """Both views through both networks. moves_first: the slow one follows before the step (MoCo v3), not after it (BYOL)."""
    t = {}
    online = {"encoder": encoder, "projector": projector, "predictor": predictor}
    for part, model in online.items():
        if next(model.parameters()).dtype != torch.double:
            start(model, t, part)
    slow_encoder, slow_projector = copy_of(encoder), copy_of(projector)
    optimiser, values = optimiser_of(*online.values()), []

    def follow(step):
        update_momentum(encoder, slow_encoder, momentum(0.9, step, steps))
        update_momentum(projector, slow_projector, momentum(0.9, step, steps))

    for step, (first, second) in enumerate(common()[1]):
        if moves_first:
            follow(step)
        with torch.no_grad():
            slow1, slow2 = [slow_projector(slow_encoder(view)) for view in (first, second)]
        fast1, fast2 = [predictor(projector(encoder(view))) for view in (first, second)]
        loss = loss_of(fast1, fast2, slow1, slow2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if not moves_first:
            follow(step)
        values.append(loss.detach())
    t["losses"] = torch.stack(values)
    keep(t, "encoder", encoder, ALL)
    keep(t, "projector", projector)
    keep(t, "predictor", predictor, ("weight", "bias"))  # the mean of normalised projections is rounding alone
    keep(t, "momentum_projector", slow_projector, ("weight", "bias"))
    keep(t, "momentum_encoder", slow_encoder, SOME)
    t.pop("end.encoder.norm.bias", None)  # a norm follows: its gradient is rounding alone
    save(name, rename(t))


def byol():
    cosine = NegativeCosineSimilarity()
    loss = lambda p1, p2, t1, t2: 4 + 2 * (cosine(p1, t2) + cosine(p2, t1))
    siamese("byol", copy.deepcopy(common()[0]), mlp((16, 12, 6), (True, False), ("affine", None)), mlp((6, 10, 6), (True, False), ("affine", None)), loss, False)


def moco_v3():
    def loss_at(tau):
        def one(q, k):
            logits = F.normalize(q, dim=1) @ F.normalize(k, dim=1).t() / tau
            return F.cross_entropy(logits, torch.arange(len(q))) * 2 * tau
        return lambda q1, q2, k1, k2: one(q1, k2) + one(q2, k1)

    none, last = (False, False), ("affine", "plain")
    siamese("moco_v3", copy.deepcopy(common()[0]), mlp((16, 12, 6), none, last), mlp((6, 10, 6), none, ("affine", None)), loss_at(1.0), True)
    siamese("moco_v3_vit", MocoViT(), mlp((12, 12, 12, 6), (False,) * 3, ("affine", "affine", "plain")), mlp((6, 10, 6), none, last),
            loss_at(0.2), True)


def swav(n=8, queue_length=16):
    """Prototypes frozen for one step; the queue is full, and used, after two."""
    t = {}
    encoder, projector = copy.deepcopy(common()[0]), mlp((16, 12, 6), (True, True), ("affine", None))
    prototypes = nn.Linear(6, 7, bias=False)
    start(projector, t, "projector")
    start(prototypes, {}, "")
    normalize_weight(prototypes.weight)
    t["start.prototypes.weight"] = prototypes.weight.float()
    prototypes.weight.data = prototypes.weight.data.float().double()
    loss_of = SwaVLoss(temperature=0.1, sinkhorn_iterations=3, sinkhorn_epsilon=0.05)
    optimiser, values = optimiser_of(encoder, projector, prototypes), []
    queue = torch.zeros(2, queue_length, 6).double()
    for step, (first, second) in enumerate(common()[1]):
        features = F.normalize(projector(encoder(torch.cat([first, second]))), dim=1)
        queued = [prototypes(rows) for rows in queue] if queue[0, -1].any() else None
        loss = loss_of(list(prototypes(features).chunk(2)), [], queued)
        optimiser.zero_grad()
        loss.backward()
        if step < 1:
            prototypes.weight.grad = None
        optimiser.step()
        normalize_weight(prototypes.weight)
        queue = torch.cat([features.detach().reshape(2, n, -1), queue], 1)[:, :queue_length]
        values.append(loss.detach()[0])
    t["losses"], t["end.queue"] = torch.stack(values), queue.float()
    keep(t, "encoder", encoder, ALL)
    keep(t, "projector", projector)
    keep(t, "prototypes", prototypes)
    save("swav", rename(t))


def layer_decay():
    """The factor on the rate of each weight, of a ViT of three blocks and a ResNet-18 under timm's rule."""
    vit = timm.models.vision_transformer.VisionTransformer(img_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=3, num_classes=3)
    t = {}
    for kind, model in {"vit": vit, "resnet": timm.create_model("resnet18", num_classes=3)}.items():
        of = {id(p): name for name, p in model.named_parameters()}
        for group in timm.optim.param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.7):
            t |= {f"{kind}.{of[id(p)]}": torch.tensor(group["lr_scale"]) for p in group["params"]}
    save("layer_decay", t)


def lars():
    """Five steps of each rule by its formula, and of lightly's LARS, with a zero gradient and a zero weight among them."""
    t = {"start.w": torch.randn(4, 3), "start.z": torch.zeros(2, 3), "start.b": torch.randn(3)}
    for step in range(5):
        t |= {f"gradient.{step}.{key}": torch.randn_like(t[f"start.{key}"]) * 0.3 for key in ("w", "z", "b")}
    t["gradient.3.w"].zero_()
    rates, decay, m = (0.5, 1.0, 2.0, 1.0, 0.3), 0.02, 0.9

    def run(name, eta, joint, inside, clip, plain, flat):
        for key in ("w", "z", "b"):
            w, buffer = t[f"start.{key}"].clone().double(), None
            for step, lr in enumerate(rates):
                g = t[f"gradient.{step}.{key}"].double()
                d = g
                if not (flat and w.dim() <= 1):
                    d = g + decay * w
                    wn, gn = w.norm(), (d if joint else g).norm()
                    if wn > 0 and gn > 0:
                        trust = eta * wn / (gn if joint else gn + decay * wn + 1e-8)
                        d = d * (min(trust / lr, 1) if clip else trust)
                    elif plain:
                        d = g
                if inside:
                    d = d * lr
                buffer = d if buffer is None else m * buffer + d
                w = w - (1 if inside else lr) * buffer
            t[f"{name}.{key}"] = w.float()

    run("lars", 1e-3, True, False, False, False, True)
    run("lars-mmpretrain", 1e-3, False, True, False, False, True)
    run("lars-simclr", 1e-3, True, True, False, False, True)
    run("lars-solo", 0.02, False, False, True, True, True)
    run("larc", 1e-3, False, False, False, True, False)
    parameters = {key: nn.Parameter(t[f"start.{key}"].clone()) for key in ("w", "z", "b")}
    peer = LARS(parameters.values(), lr=1, momentum=m, weight_decay=decay)
    for step, lr in enumerate(rates):
        peer.param_groups[0]["lr"] = lr
        for key, parameter in parameters.items():
            parameter.grad = t[f"gradient.{step}.{key}"].clone()
        peer.step()
    t |= {f"lightly.{key}": value.detach() for key, value in parameters.items()}
    save("lars", t)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    losses()
    byol()
    moco_v3()
    swav()
    layer_decay()
    lars()
    multi_positive()
