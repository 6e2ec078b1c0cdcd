"""BYOL, SwAV and MoCo v3: losses with gradients, of lightly where it has them, else of the papers' formulas: tests/golden/methods/."""
import pathlib

import torch
import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.loss.swav_loss import sinkhorn
from safetensors.torch import save_file

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


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    losses()
