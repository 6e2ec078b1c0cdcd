"""kNN predictions of lightly and a linear classifier's SGD trajectory of PyTorch: tests/golden/eval/."""
import pathlib

import torch
import torch.nn.functional as F
from lightly.utils.benchmarking import knn_predict
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "eval"
CLASSES, WIDTH = 6, 10


def points(count):
    labels = torch.randint(CLASSES, (count,))
    return CENTRES[labels] + 1.5 * torch.randn(count, WIDTH), labels


def knn():
    bank, labels = points(90)
    queries, truth = points(40)
    t = {"bank": bank, "labels": labels, "queries": queries, "truth": truth}
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    for k, temperature in ((5, 0.07), (20, 0.1), (90, 0.5)):
        t[f"order.{k}"] = knn_predict(queries, bank.t(), labels, CLASSES, knn_k=k, knn_t=temperature)
        similar, places = (queries @ bank.t()).topk(k)
        t[f"votes.{k}"] = torch.zeros(len(queries), CLASSES).scatter_add_(1, labels[places], (similar / temperature).exp())
    save_file(t, OUT / "knn.safetensors")


def linear():
    """Whole-set batches, so that the order of the rows does not matter."""
    features, labels = points(100)
    rates = [0.03, 0.3, 1.0]
    t = {"features": features, "labels": labels, "rates": torch.tensor(rates), "start": torch.randn(WIDTH, CLASSES) * 0.01}
    standard = (features - features.mean(0)) / features.std(0, unbiased=False)
    for name, x in (("raw", features), ("standard", standard)):
        weights, biases = [], []
        for rate in rates:
            layer = torch.nn.Linear(WIDTH, CLASSES)
            with torch.no_grad():
                layer.weight.copy_(t["start"].t())
                layer.bias.zero_()
            optimiser = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, weight_decay=1e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=12)
            for _ in range(12):
                optimiser.zero_grad()
                F.cross_entropy(layer(x), labels).backward()
                optimiser.step()
                schedule.step()
            weights.append(layer.weight.detach().t().clone())
            biases.append(layer.bias.detach().clone()[None])
        t[f"{name}.weight"], t[f"{name}.bias"] = torch.stack(weights), torch.stack(biases)
    save_file(t, OUT / "linear.safetensors")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    CENTRES = torch.randn(CLASSES, WIDTH)
    knn()
    linear()
