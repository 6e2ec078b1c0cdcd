"""Writes tests/golden/foreground/*.safetensors: the principal component, thresholds and pair weights of small random tokens,
by numpy and torch. Run with the versions of tests/golden/requirements.txt:  python tests/golden/make_foreground.py
"""
import pathlib

import numpy
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "foreground"


def save(name, tensors):
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, OUT / f"{name}.safetensors")
    (OUT / f"{name}.safetensors").chmod(0o644)


def component():
    """Tokens of 32 pictures on a grid of 5 x 5 with an object in the middle, far from the origin."""
    grid, width = 5, 12
    place = (torch.arange(grid) - (grid - 1) / 2).abs()
    inside = ((place[:, None] <= 1) & (place[None] <= 1)).flatten().float()
    tokens = torch.randn(32, grid * grid, width) * 0.5 + 3 * torch.randn(width)
    tokens += inside[None, :, None] * torch.randn(width) * (0.5 + torch.rand(32, 1, 1))
    rows = tokens.flatten(0, 1)
    mean = rows.mean(0)
    covariance = (rows - mean).T @ (rows - mean) / (len(rows) - 1)
    values, vectors = torch.linalg.eigh(covariance)
    v = vectors[:, -1]
    centre_scores = (tokens @ v).mean(0)
    v = v if centre_scores[inside.bool()].mean() > centre_scores[~inside.bool()].mean() else -v
    scores = (rows @ v).numpy()
    thresholds = []
    for mass in (0.6, 0.65, 0.97):
        counts, edges = numpy.histogram(scores, bins=200)
        running = numpy.cumsum(counts) / counts.sum()
        table = {}
        for k in range(200):  # keyed by the running share: a run of empty bins keeps its last edge
            table[running[k]] = edges[k]
        thresholds.append(table[next(c for c in running if c >= mass)])
    quantiles = [numpy.sort(scores)[int(round(mass * len(scores))) - 1:][:2] for mass in (0.6, 0.65, 0.97)]
    save("component", {"tokens": tokens, "mean": mean, "component": v, "variance": values[-1:] / values.sum(),
                       "histogram": torch.tensor(numpy.array(thresholds)).double(),
                       "quantiles": torch.tensor(numpy.array(quantiles)).double()})


def quality():
    """Section 3.3 of the paper, one pair at a time."""
    pairs, grid, width = 6, 3, 8
    t = torch.randn(2, pairs, grid * grid, width) + torch.randn(2, pairs, 1, width)
    v = torch.randn(width)
    v /= v.norm()
    cosine = torch.nn.CosineSimilarity(dim=0)
    maps = torch.empty(2, pairs, grid * grid)
    foreground, background = torch.empty(pairs), torch.empty(pairs)
    for i in range(pairs):
        z = []
        for view in range(2):
            s = t[view, i] @ v
            f = (s - s.min()) / (s.max() - s.min() + 1e-7)
            maps[view, i] = f
            b = 1 - f
            z.append(((f / (f.sum() + 1e-7))[:, None] * t[view, i]).sum(0))
            z.append(((b / (b.sum() + 1e-7))[:, None] * t[view, i]).sum(0))
        foreground[i], background[i] = cosine(z[0], z[2]), cosine(z[1], z[3])
    weights = torch.stack([pairs * torch.softmax(gamma * (foreground - background), 0) for gamma in (1.0, 2.5)])
    save("quality", {"tokens1": t[0], "tokens2": t[1], "component": v, "map1": maps[0], "foreground": foreground,
                     "background": background, "weights": weights})


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(1)
    component()
    quality()
