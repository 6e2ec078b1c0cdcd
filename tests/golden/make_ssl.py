"""Losses, heads and three training steps of lightly (and the papers' formulas where it gives no value a pair): tests/golden/ssl/.

The training steps run in float64: batch norms over few small maps would blow rounding up beyond any useful tolerance.
"""
import pathlib

import lightly.loss
import torch
import torch.nn.functional as F
import torchvision.models.resnet as tv
from lightly.models.modules import heads
from lightly.models.utils import deactivate_requires_grad, update_momentum
from safetensors.torch import save_file

from make_models import SmallResnet

OUT = pathlib.Path(__file__).parent / "ssl"


def save(name, tensors):
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, OUT / f"{name}.safetensors")


def losses():
    n, d, k = 6, 8, 12
    t = {name: torch.randn(n, d) * 2 for name in ("a", "b")}
    t["queue"] = F.normalize(torch.randn(d, k), dim=0)
    t["weights"] = torch.rand(n) + 0.5

    def gradients(name, loss):
        for leaf in ("a", "b"):
            if leaves[leaf].grad is not None:
                t[f"{name}.grad_{leaf}"] = leaves[leaf].grad
        t[f"{name}.mean"] = loss

    def fresh():
        return {key: t[key].clone().requires_grad_() for key in ("a", "b")}

    leaves = fresh()
    q, key = F.normalize(leaves["a"], dim=1), F.normalize(leaves["b"], dim=1)
    logits = torch.cat([(q * key).sum(1, keepdim=True), q @ t["queue"]], 1) / 0.2
    t["info_nce"] = F.cross_entropy(logits, torch.zeros(n, dtype=torch.long), reduction="none")
    (t["info_nce"] * t["weights"]).mean().backward()
    t["info_nce.weighted_grad_a"] = leaves["a"].grad
    leaves = fresh()
    peer = lightly.loss.NTXentLoss(temperature=0.2, memory_bank_size=(k, d))
    peer.memory_bank.bank, peer.memory_bank.bank_ptr = t["queue"].t().clone(), torch.zeros(1, dtype=torch.long)
    loss = peer(leaves["a"], leaves["b"])
    loss.backward()
    gradients("info_nce", loss)

    leaves = fresh()
    loss = lightly.loss.NTXentLoss(temperature=0.1)(leaves["a"], leaves["b"])
    loss.backward()
    gradients("nt_xent", loss)
    z = F.normalize(torch.cat([t["a"], t["b"]]), dim=1)
    logits = (z @ z.t() / 0.1).masked_fill(torch.eye(2 * n, dtype=torch.bool), float("-inf"))
    both = F.cross_entropy(logits, (torch.arange(2 * n) + n) % (2 * n), reduction="none")
    t["nt_xent"] = (both[:n] + both[n:]) / 2

    leaves = fresh()
    loss = lightly.loss.NegativeCosineSimilarity()(leaves["a"], leaves["b"])
    loss.backward()
    gradients("negative_cosine", loss)
    t["negative_cosine"] = -F.cosine_similarity(t["a"], t["b"])
    save("losses", t)


def head_parity():
    t = {}
    made = {"moco_v2": heads.MoCoProjectionHead(12, 10, 6), "simclr": heads.SimCLRProjectionHead(12, 10, 6),
            "simsiam": heads.SimSiamProjectionHead(12, 10, 6), "predictor": heads.SimSiamPredictionHead(6, 4, 6)}
    for name, head in made.items():
        with torch.no_grad():
            for key, value in head.named_parameters():
                if value.dim() == 1:
                    value.add_(torch.randn_like(value) * 0.2)
        t |= {f"{name}.{key.removeprefix('layers.')}": value.clone() for key, value in head.state_dict().items()}
        x = torch.randn(7, 6 if name == "predictor" else 12)
        head.train()
        y = head(x)
        factor = torch.randn_like(y)
        (y * factor).sum().backward()
        t |= {f"{name}:x": x, f"{name}:factor": factor, f"{name}:trained": y, f"{name}:grad": head.layers[0].weight.grad}
        head.eval()
        t[f"{name}:frozen"] = head(x)
    save("heads", t)


def single(value):
    return value.float() if value.is_floating_point() else value.clone()


def start(model, t, prefix):
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(value.half().float())
    model.double()
    t |= {f"start.{prefix}.{k}": single(v) for k, v in model.state_dict().items()}


def keep(t, prefix, model, names=("running_mean", "weight", "bias")):
    t |= {f"end.{prefix}.{k.removeprefix('layers.')}": single(v) for k, v in model.state_dict().items() if k.endswith(names)}


def rename(t):
    return {k.replace(".layers.", "."): v for k, v in t.items()}


def views(t, steps, n, size):
    t["views"] = torch.randn(steps, 2, n, 3, size, size).half()
    # The second view is like the first, as in life.
    t["views"][:, 1] = (0.7 * t["views"][:, 0].float() + 0.7 * t["views"][:, 1].float()).half()
    return t["views"].double()


def moco(steps=3, n=8, size=12):
    t = {}
    encoder, projector = SmallResnet(tv.BasicBlock, [2, 2, 2, 2], 2, True), heads.MoCoProjectionHead(16, 16, 6)
    start(encoder, t, "encoder")
    start(projector, t, "projector")
    slow_encoder = SmallResnet(tv.BasicBlock, [2, 2, 2, 2], 2, True).double()
    slow_projector = heads.MoCoProjectionHead(16, 16, 6).double()
    slow_encoder.load_state_dict(encoder.state_dict())
    slow_projector.load_state_dict(projector.state_dict())
    deactivate_requires_grad(slow_encoder)
    deactivate_requires_grad(slow_projector)
    loss_of = lightly.loss.NTXentLoss(temperature=0.2, memory_bank_size=(16, 6))
    bank = F.normalize(torch.randn(6, 16), dim=0).double()
    loss_of.memory_bank.bank, loss_of.memory_bank.bank_ptr = bank.t().clone(), torch.zeros(1, dtype=torch.long)
    t["start.queue"] = bank.float()
    parameters = list(encoder.parameters()) + list(projector.parameters())
    optimiser = torch.optim.SGD(parameters, lr=0.06, momentum=0.9, weight_decay=1e-4)
    values = []
    for first, second in views(t, steps, n, size):
        update_momentum(encoder, slow_encoder, 0.9)
        update_momentum(projector, slow_projector, 0.9)
        with torch.no_grad():
            key = slow_projector(slow_encoder(second))
        loss = loss_of(projector(encoder(first)), key)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(loss.detach())
    update_momentum(encoder, slow_encoder, 0.9)
    update_momentum(projector, slow_projector, 0.9)
    t["losses"], t["end.queue"] = torch.stack(values), loss_of.memory_bank.bank.t().float()
    keep(t, "encoder", encoder)
    keep(t, "projector", projector)
    keep(t, "momentum_projector", slow_projector)
    keep(t, "momentum_encoder", slow_encoder, ("layer1.0.conv1.weight", "layer4.1.conv2.weight", "bn1.running_var"))
    save("moco_v2", rename(t))


def simsiam(steps=3, n=8, size=12):
    t = {}
    encoder = SmallResnet(tv.BasicBlock, [2, 2, 2, 2], 2, True)
    projector, predictor = heads.SimSiamProjectionHead(16, 16, 12), heads.SimSiamPredictionHead(12, 4, 12)
    for name, model in {"encoder": encoder, "projector": projector, "predictor": predictor}.items():
        start(model, t, name)
    loss_of = lightly.loss.NegativeCosineSimilarity()
    optimiser = torch.optim.SGD([{"params": list(encoder.parameters()) + list(projector.parameters())},
                                 {"params": list(predictor.parameters()), "lr": 0.05}], lr=0.02, momentum=0.9, weight_decay=1e-4)
    values = []
    for first, second in views(t, steps, n, size):
        z1, z2 = projector(encoder(first)), projector(encoder(second))
        p1, p2 = predictor(z1), predictor(z2)
        loss = 0.5 * (loss_of(p1, z2.detach()) + loss_of(p2, z1.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(loss.detach())
    t["losses"] = torch.stack(values)
    keep(t, "encoder", encoder)
    keep(t, "projector", projector)
    keep(t, "predictor", predictor, ("weight", "bias", "running_var"))  # the mean of normalised projections is rounding alone
    save("simsiam", rename(t))


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    losses()
    head_parity()
    moco()
    simsiam()
